// Command conformance-live is the Go program of the live conformance part: it judges tokens with a real verifier and
// speaks lines with the harness, as clients/conformance/README.md says ("The live part").
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/authsvc/authsvc/clients/go/authsvc"
)

// Tokens are judged this often while they are watched; the contract of the program says every 5 ms at least.
const watchEvery = time.Millisecond

func main() {
	target := flag.String("target", "", "HOST:PORT of the server, spoken to in plaintext")
	audience := flag.String("audience", "", "the verifier's audience")
	flag.Parse()
	if err := run(*target, *audience, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "conformance-live:", err)
		os.Exit(1)
	}
}

func run(target, audience string, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	verifier, err := authsvc.NewVerifier(ctx, target, authsvc.WithAudience(audience), authsvc.WithPlaintext())
	if err != nil {
		return err
	}
	defer verifier.Close()
	if err := verifier.WaitReady(ctx); err != nil {
		return err
	}
	program := &program{ctx: ctx, verifier: verifier, out: out}
	defer program.watches.Wait()
	defer cancel()
	program.say("ready")
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if lines.Text() == "quit" {
			return nil
		}
		program.do(lines.Text())
	}
	return lines.Err()
}

type program struct {
	ctx      context.Context
	verifier *authsvc.Verifier
	watches  sync.WaitGroup
	mu       sync.Mutex
	out      io.Writer
}

func (p *program) say(format string, values ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, format+"\n", values...)
}

func (p *program) do(line string) {
	command, rest, _ := strings.Cut(line, " ")
	switch command {
	case "verify":
		p.say("%s", p.judge(rest))
	case "watch":
		number, token, _ := strings.Cut(rest, " ")
		if verdict := p.judge(token); verdict != "active" {
			p.say("%s", verdict)
			return
		}
		p.say("watching %s", number)
		p.watches.Add(1)
		go p.watch(number, token)
	case "age":
		if age, known := p.verifier.Age(); known {
			p.say("age %d", age.Milliseconds())
		} else {
			p.say("age -1")
		}
	case "stats":
		revocations, tokens := p.verifier.Stats()
		said, err := json.Marshal(map[string]int{"revocations": revocations, "tokens": tokens})
		if err != nil {
			p.say("error %v", err)
			return
		}
		p.say("stats %s", said)
	default:
		p.say("error %q is no command", command)
	}
}

func (p *program) judge(token string) string {
	_, err := p.verifier.Verify(p.ctx, token)
	var refusal *authsvc.Refusal
	switch {
	case err == nil:
		return "active"
	case errors.As(err, &refusal):
		return "inactive " + refusal.Reason.String()
	default:
		return "unavailable"
	}
}

// watch says when a token is refused for the first time.
func (p *program) watch(number, token string) {
	defer p.watches.Done()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-p.ctx.Done():
			return
		}
		var refusal *authsvc.Refusal
		if _, err := p.verifier.Check(token); errors.As(err, &refusal) {
			now := time.Now()
			p.say("refused %s %s %.3f", number, refusal.Reason, float64(now.UnixMicro())/1e3)
			return
		}
	}
}
