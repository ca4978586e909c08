package authsvc

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// Option configures NewVerifier and NewAuthClient.
type Option func(*config) error

type config struct {
	audiences   []string
	hardBound   time.Duration
	policy      Policy
	cacheBytes  int
	clock       Clock
	hooks       Hooks
	credentials credentials.TransportCredentials
	dialOptions []grpc.DialOption
	conn        grpc.ClientConnInterface
}

// Hooks are called where metrics are counted. Each may be nil; none may block, and they may be called at the same time.
type Hooks struct {
	// Checked is called after every Verify and Check: nil for an active token, else *Refusal or *Unavailable.
	Checked func(err error)
	// KeysRead is called after every read of the keys.
	KeysRead func(err error)
	// StreamOpened is called when a stream of revocations is opened; resumed is false where it starts with a snapshot.
	StreamOpened func(resumed bool)
	// StreamEnded is called when one is over. A nil error is an end in peace, after GoAway for one.
	StreamEnded func(err error)
	// Asked is called after every question to the server, with the number of tokens in it.
	Asked func(tokens int, err error)
}

const (
	defaultHardBound  = 30 * time.Second
	defaultCacheBytes = 64 << 20
)

func newConfig(options []Option) (*config, error) {
	c := &config{hardBound: defaultHardBound, cacheBytes: defaultCacheBytes, clock: SystemClock()}
	for _, option := range options {
		if err := option(c); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// WithAudience names this service as the apps' audiences do. A token must be for one of the names. A verifier has to
// have one.
func WithAudience(anyOf ...string) Option {
	return func(c *config) error {
		for _, audience := range anyOf {
			if audience == "" {
				return errors.New("authsvc: an audience is not empty")
			}
		}
		c.audiences = append(c.audiences, anyOf...)
		return nil
	}
}

// WithHardBound sets how old the knowledge of revocations may be that decides by itself: 1 s to 300 s, 30 s by default.
func WithHardBound(bound time.Duration) Option {
	return func(c *config) error {
		if bound < time.Second || bound > 300*time.Second {
			return fmt.Errorf("authsvc: a hard bound of %v is not within 1 s and 300 s", bound)
		}
		c.hardBound = bound
		return nil
	}
}

// WhenStale sets what happens where the verifier may not decide by itself. AskServer by default.
func WhenStale(policy Policy) Option {
	return func(c *config) error {
		if policy > FailOpen {
			return fmt.Errorf("authsvc: there is no policy %d", policy)
		}
		c.policy = policy
		return nil
	}
}

// WithCacheBytes bounds the memory of the cache of verified tokens, 64 MiB by default: some 50,000 tokens.
func WithCacheBytes(limit int) Option {
	return func(c *config) error {
		if limit < 0 {
			return errors.New("authsvc: a cache has no less than 0 bytes")
		}
		c.cacheBytes = limit
		return nil
	}
}

// WithClock gives the verifier its time.
func WithClock(clock Clock) Option {
	return func(c *config) error {
		c.clock = clock
		return nil
	}
}

// WithHooks sets what is told for metrics.
func WithHooks(hooks Hooks) Option {
	return func(c *config) error {
		c.hooks = hooks
		return nil
	}
}

// WithTransportCredentials sets how the connection is secured. By default it is TLS with the system's roots, and
// plaintext for targets that never leave the machine (loopback addresses, localhost, unix sockets).
func WithTransportCredentials(creds credentials.TransportCredentials) Option {
	return func(c *config) error {
		c.credentials = creds
		return nil
	}
}

// WithPlaintext speaks plaintext whatever the target: where a proxy beside this process secures what leaves the host.
// Tokens and their verdicts travel on this connection.
func WithPlaintext() Option { return WithTransportCredentials(insecure.NewCredentials()) }

// WithDialOptions adds options of the connection, per-call credentials for one. They come after the module's own.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(c *config) error {
		c.dialOptions = append(c.dialOptions, options...)
		return nil
	}
}

// WithConn uses a connection of the caller's, who closes it; the target is not used then. Give it ServiceConfig.
func WithConn(conn grpc.ClientConnInterface) Option {
	return func(c *config) error {
		c.conn = conn
		return nil
	}
}
