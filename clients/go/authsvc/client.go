package authsvc

import (
	"context"
	"sync"

	"google.golang.org/grpc"

	authapiv1 "github.com/authsvc/authsvc/clients/go/authapi/v1"
)

// AuthClient calls the RPCs of the contract with the shipped service config: retries for what may be repeated, none for
// Login. Login, RefreshToken, BatchVerifyTokens and Revoke are the stub's own.
//
// Concurrent VerifyToken calls go together in BatchVerifyTokens. To check many tokens, a Verifier is far cheaper.
type AuthClient struct {
	authapiv1.AuthServiceClient
	// Sessions, Keys, Revocations, Users and WeChat are the other services' stubs.
	Sessions    authapiv1.SessionServiceClient
	Keys        authapiv1.KeyServiceClient
	Revocations authapiv1.RevocationServiceClient
	Users       authapiv1.UserServiceClient
	WeChat      authapiv1.WeChatServiceClient

	ask    coalescer
	cancel context.CancelFunc
	close  func() error // once
}

// NewAuthClient makes a client; it connects with its first call. Of the options, those of the connection and the hook
// Asked count. It ends with ctx, or with Close.
func NewAuthClient(ctx context.Context, target string, options ...Option) (*AuthClient, error) {
	c, err := newConfig(options)
	if err != nil {
		return nil, err
	}
	conn, closeConn, err := dial(target, c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	auth := authapiv1.NewAuthServiceClient(conn)
	return &AuthClient{
		AuthServiceClient: auth,
		Sessions:          authapiv1.NewSessionServiceClient(conn),
		Keys:              authapiv1.NewKeyServiceClient(conn),
		Revocations:       authapiv1.NewRevocationServiceClient(conn),
		Users:             authapiv1.NewUserServiceClient(conn),
		WeChat:            authapiv1.NewWeChatServiceClient(conn),
		ask:               coalescer{ctx: ctx, client: auth, told: c.hooks.Asked},
		cancel:            cancel,
		close:             sync.OnceValue(closeConn),
	}, nil
}

// VerifyToken asks the server about a token, together with others that are asked about at the same time. With call
// options, or with at_least, it is a call of its own. The response may be shared with other callers: read it only.
func (c *AuthClient) VerifyToken(
	ctx context.Context, request *authapiv1.VerifyTokenRequest, options ...grpc.CallOption,
) (*authapiv1.VerifyTokenResponse, error) {
	if len(options) > 0 {
		return c.AuthServiceClient.VerifyToken(ctx, request, options...)
	}
	return c.ask.ask(ctx, request)
}

// Close ends calls under way and closes the connection. Idempotent.
func (c *AuthClient) Close() error {
	c.cancel()
	return c.close()
}
