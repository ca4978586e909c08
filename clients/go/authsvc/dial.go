package authsvc

import (
	_ "embed"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // client-side health checking, which the service config asks for
	"google.golang.org/grpc/keepalive"
)

// ServiceConfig is the gRPC service config of every client of the contract: round robin over healthy addresses,
// retries for what may be repeated, none for Login. NewVerifier and NewAuthClient use it.
//
//go:embed service_config.json
var ServiceConfig string

// Close gives a connection back that was made here.
type closer func() error

func dial(target string, c *config) (grpc.ClientConnInterface, closer, error) {
	if c.conn != nil {
		return c.conn, func() error { return nil }, nil
	}
	creds := c.credentials
	if creds == nil {
		creds = credentials.NewTLS(nil)
		if isLocal(target) {
			creds = insecure.NewCredentials()
		}
	}
	reconnect := backoff.DefaultConfig
	reconnect.BaseDelay, reconnect.MaxDelay = 100*time.Millisecond, time.Second
	options := append([]grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultServiceConfig(ServiceConfig),
		grpc.WithDisableServiceConfig(),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: 5 * time.Second}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
	}, c.dialOptions...)
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		return nil, nil, err
	}
	return conn, conn.Close, nil
}

// isLocal reports whether what is sent to a target cannot leave this machine.
func isLocal(target string) bool {
	scheme, rest, hasScheme := strings.Cut(target, ":")
	switch {
	case hasScheme && (scheme == "unix" || scheme == "unix-abstract"):
		return true
	case hasScheme && (scheme == "ipv4" || scheme == "ipv6"):
		target = rest
	default:
		if _, path, hasAuthority := strings.Cut(target, ":///"); hasAuthority {
			target = path
		}
	}
	for _, address := range strings.Split(target, ",") {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			host = address
		}
		ip := net.ParseIP(strings.Trim(host, "[]"))
		if host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return false
		}
	}
	return true
}
