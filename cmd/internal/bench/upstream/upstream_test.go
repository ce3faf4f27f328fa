package upstream

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
)

func start(t *testing.T, s Settings) (*upstream, string) {
	t.Helper()
	u := &upstream{}
	u.set(s)
	server := httptest.NewServer(u)
	t.Cleanup(server.Close)
	return u, server.URL
}

// ended is how a text ends: a CRC may hold a byte that looks like the mark.
var ended = []byte(Mark + `"`)

func ask(t *testing.T, url, body string, signed bool) (status int, answer []byte) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if signed {
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=A")
		r.Header.Set("X-Amz-Date", "20261123T050000Z")
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if answer, err = io.ReadAll(response.Body); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, answer
}

func TestWhatIsAnsweredAndWhatIsRefused(t *testing.T) {
	u, url := start(t, Settings{Deltas: 3})
	for _, test := range []struct {
		path, body string
		signed     bool
		status     int
		marks      int
	}{
		{"/model/a%3A0/invoke", "{}", true, 200, 1},
		{"/model/a%3A0/converse", "{}", true, 200, 1},
		{"/model/a%3A0/converse-stream", "{}", true, 200, 3},
		{"/model/a%3A0/invoke", "{}", false, 403, 0},
		{"/model/a%3A0/invoke", "", true, 400, 0},
		{"/model/a%3A0/invoke", "[]", true, 400, 0},
		{"/model/a%3A0/invoke", `{"half":`, true, 400, 0},
		{"/model/a%3A0/count-tokens", "{}", true, 404, 0},
		{"/other/invoke", "{}", true, 404, 0},
	} {
		status, answer := ask(t, url+test.path, test.body, test.signed)
		if status != test.status || test.marks > 0 && bytes.Count(answer, ended) != test.marks {
			t.Errorf("%+v: %d %.200s", test, status, answer)
		}
	}
	if a, r := u.answered.Load(), u.refused.Load(); a != 3 || r != 6 {
		t.Errorf("answered %d, refused %d", a, r)
	}
}

// AWS's own decoder reads the streams.
func TestTheFramesAreAWSs(t *testing.T) {
	_, url := start(t, Settings{Deltas: 5})
	for path, want := range map[string]int{"/model/a/converse-stream": 9, "/model/a/invoke-with-response-stream": 10} {
		_, answer := ask(t, url+path, "{}", true)
		d := eventstream.NewDecoder()
		reader := bytes.NewReader(answer)
		events, marks := 0, 0
		for {
			m, err := d.Decode(reader, nil)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: event %d: %v", path, events, err)
			}
			payload := m.Payload
			if m.Headers.Get(":event-type").String() == "chunk" {
				var c struct{ Bytes string }
				if err := json.Unmarshal(payload, &c); err != nil {
					t.Fatal(err)
				}
				if payload, err = base64.StdEncoding.DecodeString(c.Bytes); err != nil {
					t.Fatal(err)
				}
			}
			if !json.Valid(payload) {
				t.Errorf("%s: %s", path, payload)
			}
			events++
			marks += bytes.Count(payload, []byte(Mark))
		}
		if events != want || marks != 5 {
			t.Errorf("%s: %d events with %d marks, want %d with 5", path, events, marks, want)
		}
	}
}

func TestAHeldStreamWaitsToBeReleased(t *testing.T) {
	_, url := start(t, Settings{Deltas: 4, Hold: 2})
	r, err := http.NewRequest(http.MethodPost, url+"/model/a/converse-stream", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=A")
	r.Header.Set("X-Amz-Date", "20261123T050000Z")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var got []byte
	for b := make([]byte, 1); bytes.Count(got, ended) < 2; {
		if _, err := io.ReadFull(response.Body, b); err != nil {
			t.Fatal(err)
		}
		got = append(got, b...)
	}
	rest := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(response.Body)
		rest <- b
	}()
	select {
	case b := <-rest:
		t.Fatalf("not held: %q", b)
	case <-time.After(20 * time.Millisecond):
	}
	if status, _ := ask(t, url+ReleasePath, "{}", false); status != 200 {
		t.Fatal(status)
	}
	if b := <-rest; bytes.Count(b, ended) != 2 {
		t.Errorf("%q", b)
	}
}
