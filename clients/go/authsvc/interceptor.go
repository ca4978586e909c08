package authsvc

import (
	"context"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Rule says what some methods of a gRPC server ask of a token. A method without a rule of its own asks for a good
// token and nothing more: nothing is public by omission.
type Rule struct {
	pattern  string
	public   bool
	required []Requirement
}

// On makes a method ask for more than a good token. pattern is a full method name, "/orders.v1.Orders/Cancel", or all
// methods of a service, "/orders.v1.Orders/*", or "*". Of several that match, the longest alone counts.
func On(pattern string, required ...Requirement) Rule {
	return Rule{pattern: pattern, required: required}
}

// Public lets a method, or all of a service, be called without a token. The claims are not in its context.
func Public(pattern string) Rule { return Rule{pattern: pattern, public: true} }

func ruleFor(rules []Rule, method string) (best Rule) {
	length := -1
	for _, rule := range rules {
		prefix, isPrefix := strings.CutSuffix(rule.pattern, "*")
		matches := rule.pattern == method || (isPrefix && strings.HasPrefix(method, prefix))
		if matches && len(rule.pattern) > length {
			best, length = rule, len(rule.pattern)
		}
	}
	return best
}

// UnaryServerInterceptor guards the unary methods of a server: the token comes in the metadata "authorization: Bearer
// …", its claims go into the context. A bad token is UNAUTHENTICATED, one that is good but not for this
// PERMISSION_DENIED, and UNAVAILABLE says that nobody can tell right now; the fine reason does not leave the server.
func UnaryServerInterceptor(verifier TokenVerifier, rules ...Rule) grpc.UnaryServerInterceptor {
	return func(
		ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler,
	) (any, error) {
		ctx, err := admit(ctx, verifier, ruleFor(rules, info.FullMethod))
		if err != nil {
			return nil, err
		}
		return handler(ctx, request)
	}
}

// StreamServerInterceptor guards the streaming methods as UnaryServerInterceptor does the others. A stream is judged
// when it is opened; one that lives longer than a token should call Verify again as it goes.
func StreamServerInterceptor(verifier TokenVerifier, rules ...Rule) grpc.StreamServerInterceptor {
	return func(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		ctx, err := admit(stream.Context(), verifier, ruleFor(rules, info.FullMethod))
		if err != nil {
			return err
		}
		return handler(server, &admittedStream{stream, ctx})
	}
}

type admittedStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *admittedStream) Context() context.Context { return s.ctx }

func admit(ctx context.Context, verifier TokenVerifier, rule Rule) (context.Context, error) {
	if rule.public {
		return ctx, nil
	}
	token, err := bearer(metadata.ValueFromIncomingContext(ctx, "authorization"))
	if err != nil {
		return nil, statusOf(err)
	}
	claims, err := verifier.Verify(ctx, token, rule.required...)
	if err != nil {
		return nil, statusOf(err)
	}
	return NewContext(ctx, claims), nil
}

// The statuses are the same for everybody: one of each.
var (
	invalidStatus = makeStatus(codes.Unauthenticated, "the token is not valid", "TOKEN_INVALID")
	lackingStatus = makeStatus(codes.PermissionDenied, "the token does not allow this", "TOKEN_INSUFFICIENT")
	unknownStatus = makeStatus(codes.Unavailable, "the token cannot be judged right now", "NOT_FRESH",
		&errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfterSeconds * 1e9)})
)

const retryAfterSeconds = 1

func makeStatus(code codes.Code, text, reason string, details ...protoadapt.MessageV1) error {
	details = append([]protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: reason, Domain: "authsvc"}}, details...)
	made, err := status.New(code, text).WithDetails(details...)
	if err != nil {
		panic(err) // these messages can always be packed
	}
	return made.Err()
}

func statusOf(err error) error {
	switch insufficient, invalid := refused(err); {
	case insufficient:
		return lackingStatus
	case invalid:
		return invalidStatus
	default:
		return unknownStatus
	}
}
