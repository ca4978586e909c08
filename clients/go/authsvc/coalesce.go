package authsvc

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	authapiv1 "github.com/authsvc/authsvc/clients/go/authapi/v1"
)

const (
	// The contract's bound of a batch, and one of ours, well below what a server reads in one message.
	batchTokens, batchBytes = 1000, 1 << 20
	// How many calls are on their way at once, and how many questions wait for the next.
	callsAtOnce, questionsWaiting = 2, 20_000
	// How long one call may take.
	askLimit = 5 * time.Second
)

var (
	errTooMany = errors.New("too many questions are waiting for the server")
	errAnswers = errors.New("the server's answers do not fit the questions")
)

// coalescer asks the server about tokens. Questions that come while calls are under way go together into the next one,
// equal ones once.
type coalescer struct {
	ctx    context.Context // ends calls when the client closes
	client authapiv1.AuthServiceClient
	told   func(tokens int, err error)

	mu      sync.Mutex
	waiting []*question
	running int
}

type question struct {
	request  *authapiv1.VerifyTokenRequest
	response *authapiv1.VerifyTokenResponse
	err      error
	done     chan struct{}
}

// ask returns the server's answer. The response may be shared: nobody changes it.
func (c *coalescer) ask(ctx context.Context, request *authapiv1.VerifyTokenRequest) (*authapiv1.VerifyTokenResponse, error) {
	// A cursor makes the server wait, or fail the whole batch.
	if len(request.GetAtLeast().GetValue()) > 0 {
		return c.client.VerifyToken(ctx, request)
	}
	asked := &question{request: request, done: make(chan struct{})}
	c.mu.Lock()
	if len(c.waiting) >= questionsWaiting {
		c.mu.Unlock()
		return nil, status.Error(codes.Unavailable, errTooMany.Error())
	}
	c.waiting = append(c.waiting, asked)
	if c.running < callsAtOnce {
		c.running++
		go c.work()
	}
	c.mu.Unlock()
	select {
	case <-asked.done:
		return asked.response, asked.err
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

// work asks until nothing is waiting.
func (c *coalescer) work() {
	for {
		batch := c.take()
		if batch == nil {
			return
		}
		c.call(batch)
		for _, asked := range batch {
			close(asked.done)
		}
	}
}

func (c *coalescer) take() []*question {
	c.mu.Lock()
	defer c.mu.Unlock()
	count, size := 0, 0
	for count < len(c.waiting) && count < batchTokens {
		size += proto.Size(c.waiting[count].request)
		if count > 0 && size > batchBytes {
			break
		}
		count++
	}
	if count == 0 {
		c.running--
		c.waiting = nil
		return nil
	}
	batch := c.waiting[:count:count]
	c.waiting = c.waiting[count:]
	return batch
}

func (c *coalescer) call(batch []*question) {
	ctx, cancel := context.WithTimeout(c.ctx, askLimit)
	defer cancel()
	requests, places := distinct(batch)
	if len(requests) == 1 {
		c.one(ctx, requests[0], batch)
		return
	}
	response, err := c.client.BatchVerifyTokens(ctx, &authapiv1.BatchVerifyTokensRequest{Requests: requests})
	if err == nil && len(response.GetResponses()) != len(requests) {
		err = status.Error(codes.Unavailable, errAnswers.Error())
	}
	if c.told != nil {
		c.told(len(requests), err)
	}
	if status.Code(err) == codes.InvalidArgument {
		// One bad question fails them all; each gets the answer it deserves.
		for i, request := range requests {
			var same []*question
			for place, asked := range batch {
				if places[place] == i {
					same = append(same, asked)
				}
			}
			c.one(ctx, request, same)
		}
		return
	}
	for i, asked := range batch {
		if asked.err = err; err == nil {
			asked.response = response.GetResponses()[places[i]]
		}
	}
}

func (c *coalescer) one(ctx context.Context, request *authapiv1.VerifyTokenRequest, same []*question) {
	response, err := c.client.VerifyToken(ctx, request)
	if c.told != nil {
		c.told(1, err)
	}
	for _, asked := range same {
		asked.response, asked.err = response, err
	}
}

// distinct returns the different requests of a batch, and where each question finds its own.
func distinct(batch []*question) (requests []*authapiv1.VerifyTokenRequest, places []int) {
	seen := make(map[string]int, len(batch))
	places = make([]int, len(batch))
	for i, asked := range batch {
		request := asked.request
		name := strings.Join([]string{
			request.GetAccessToken(), request.GetAudience(),
			strings.Join(request.GetRequiredScopes(), "\x01"), strings.Join(request.GetRequiredRoles(), "\x01"),
		}, "\x00")
		place, known := seen[name]
		if !known {
			place = len(requests)
			seen[name] = place
			requests = append(requests, request)
		}
		places[i] = place
	}
	return requests, places
}
