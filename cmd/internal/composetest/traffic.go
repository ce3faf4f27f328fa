package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// call is one call to the gateway on a connection of its own, and how it went wrong.
func call(ctx context.Context, prompt string, stream bool) error {
	body := fmt.Sprintf(`{"model":"claude-bedrock","stream":%t,"messages":[{"role":"user","content":%q}]}`, stream, prompt)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, proxy+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer sk-bedrock-caller")
	r.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		return refused{err}
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 300))
		return refused{fmt.Errorf("%d: %s", answer.StatusCode, text)}
	}
	if !stream {
		_, err := io.Copy(io.Discard, answer.Body)
		return err
	}
	last := ""
	for lines := bufio.NewScanner(answer.Body); ; {
		if !lines.Scan() {
			if last != "data: [DONE]" {
				return fmt.Errorf("the stream broke off (%v) after %q", lines.Err(), last)
			}
			return lines.Err()
		}
		if lines.Text() != "" {
			last = lines.Text()
		}
	}
}

// refused is a call that was not begun; any other error is one that was cut.
type refused struct{ error }

// traffic is callers who go on calling until they are told to stop.
type traffic struct {
	stop chan struct{}
	done sync.WaitGroup

	mu                                     sync.Mutex
	calls, streams, callsRefused, callsCut int
	first                                  error
}

const (
	streaming = 6
	calling   = 3
	// A stream lasts 10 seconds, some before it and some after what is done meanwhile.
	streamPrompt = "sim:words=100 sim:every=100ms sim:chunks=100 Say it."
)

// begin lets callers in; what is done to the gateway can begin when it returns.
func begin(ctx context.Context) *traffic {
	t := &traffic{stop: make(chan struct{})}
	caller := func(stream bool, prompt string, pause time.Duration) {
		for {
			err := call(ctx, prompt, stream)
			t.count(stream, err)
			select {
			case <-t.stop:
				return
			case <-time.After(pause):
			}
		}
	}
	for range streaming {
		t.done.Go(func() { caller(true, streamPrompt, 0) })
	}
	for range calling {
		t.done.Go(func() { caller(false, "Say hello from Bedrock.", 30*time.Millisecond) })
	}
	time.Sleep(2 * time.Second) // streams are under way
	return t
}

func (t *traffic) count(stream bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if stream {
		t.streams++
	} else {
		t.calls++
	}
	if err == nil {
		return
	}
	if t.first == nil {
		t.first = err
	}
	if errors.As(err, new(refused)) {
		t.callsRefused++
	} else {
		t.callsCut++
	}
}

// end waits for the callers, and says what became of their calls.
func (t *traffic) end() (string, error) {
	close(t.stop)
	t.done.Wait()
	said := fmt.Sprintf("%d calls and %d streams, %d refused, %d cut", t.calls, t.streams, t.callsRefused, t.callsCut)
	if t.first != nil {
		return "", fmt.Errorf("%s; the first: %w", said, t.first)
	}
	return said, nil
}

// served waits until a call is answered, and says how long that took.
func served(ctx context.Context) (time.Duration, error) {
	begun := time.Now()
	err := eventually(ctx, func() error {
		ctx, stop := context.WithTimeout(ctx, 5*time.Second)
		defer stop()
		return call(ctx, "Say hello from Bedrock.", false)
	})
	return time.Since(begun).Round(100 * time.Millisecond), err
}
