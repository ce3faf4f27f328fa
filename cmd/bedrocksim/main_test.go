package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
	"github.com/aws/smithy-go"
)

func TestKeys(t *testing.T) {
	address := serve(t, "-key", "AKIDTEST:s3cret", "-key", "ASIATEST:temporary:tok:en", "-expired-key", "ASIAOLD:old:token")
	for _, c := range []struct {
		name string
		key  aws.Credentials
		want string // the exception
	}{
		{"the page's placeholders", aws.Credentials{AccessKeyID: "YOUR_AWS_ACCESS_KEY_ID", SecretAccessKey: "YOUR_AWS_SECRET_ACCESS_KEY"}, ""},
		{"with its session token", aws.Credentials{AccessKeyID: "YOUR_AWS_ACCESS_KEY_ID", SecretAccessKey: "YOUR_AWS_SECRET_ACCESS_KEY", SessionToken: "YOUR_AWS_SESSION_TOKEN"}, ""},
		{"one of the flags", aws.Credentials{AccessKeyID: "AKIDTEST", SecretAccessKey: "s3cret"}, ""},
		{"temporary", aws.Credentials{AccessKeyID: "ASIATEST", SecretAccessKey: "temporary", SessionToken: "tok:en"}, ""},
		{"temporary without its token", aws.Credentials{AccessKeyID: "ASIATEST", SecretAccessKey: "temporary"}, "UnrecognizedClientException"},
		{"expired", aws.Credentials{AccessKeyID: "ASIAOLD", SecretAccessKey: "old", SessionToken: "token"}, "ExpiredTokenException"},
		{"unknown", aws.Credentials{AccessKeyID: "AKIDOTHER", SecretAccessKey: "s3cret"}, "UnrecognizedClientException"},
		{"wrong secret", aws.Credentials{AccessKeyID: "AKIDTEST", SecretAccessKey: "other"}, "InvalidSignatureException"},
	} {
		if got := converse(t, address, c.key, "us-west-2"); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestAPIKeys(t *testing.T) {
	address := serve(t, "-api-key", "ABSKtest", "-expired-api-key", "ABSKold")
	for key, want := range map[string]int{"YOUR_BEDROCK_API_KEY": 200, "ABSKtest": 200, "ABSKold": 403, "ABSKother": 403} {
		body := strings.NewReader(`{"messages":[{"role":"user","content":[{"text":"x"}]}]}`)
		r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+address+"/model/amazon.nova-pro-v1:0/converse", body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+key)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: %s", key, response.Status)
		}
	}
}

func TestTheRegionAndTheBehaviourAreFlags(t *testing.T) {
	address := serve(t, "-region", "eu-central-1", "-behaviour", "deny")
	key := aws.Credentials{AccessKeyID: "YOUR_AWS_ACCESS_KEY_ID", SecretAccessKey: "YOUR_AWS_SECRET_ACCESS_KEY"}
	for region, want := range map[string]string{"us-west-2": "InvalidSignatureException", "eu-central-1": "AccessDeniedException"} {
		if got := converse(t, address, key, region); got != want {
			t.Errorf("%s: %q, want %q", region, got, want)
		}
	}
}

func TestWrongArgumentsAreNamed(t *testing.T) {
	for want, args := range map[string][]string{
		"want id:secret": {"-key", "AKID"}, `"extra"`: {"extra"}, `"nonsense"; there are: after, `: {"-behaviour", "nonsense"}, "unknown port": {"-address", "127.0.0.1:x"},
	} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestAStopBreaksOffWhatIsOpen(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	address, ended := begin(t, ctx)
	request, err := http.NewRequest("PUT", "http://"+address+"/_sim/behaviour", strings.NewReader("stall"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := http.DefaultClient.Do(request); err != nil {
		t.Fatal(err)
	}
	answered := make(chan string, 1)
	go func() {
		answered <- converse(t, address, aws.Credentials{AccessKeyID: "YOUR_AWS_ACCESS_KEY_ID", SecretAccessKey: "YOUR_AWS_SECRET_ACCESS_KEY"}, "us-west-2")
	}()
	for { // until it has come in
		response, err := http.Get("http://" + address + "/_sim/calls")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if strings.Contains(string(body), `"open":1`) {
			break
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := <-answered; got != "no answer" {
		t.Errorf("answered %q", got)
	}
}

func serve(t *testing.T, args ...string) (address string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	address, ended := begin(t, ctx, args...)
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return address
}

// begin runs the command on a free port; its first line tells which.
func begin(t *testing.T, ctx context.Context, args ...string) (address string, ended chan error) {
	t.Helper()
	r, w := io.Pipe()
	ended = make(chan error, 1)
	go func() {
		ended <- run(ctx, append([]string{"-address", "127.0.0.1:0"}, args...), io.Discard, w)
		w.Close()
	}()
	lines := bufio.NewReader(r)
	first, err := lines.ReadString('\n')
	var line struct{ Msg, Address string } // as every line of its log, JSON
	if err != nil || json.Unmarshal([]byte(first), &line) != nil || line.Msg != "bedrocksim listens" {
		t.Fatalf("%q, %v, %v", first, err, <-ended)
	}
	go io.Copy(io.Discard, lines)
	return line.Address, ended
}

// converse is the exception that a signed call gets, "" for an answer.
func converse(t *testing.T, address string, key aws.Credentials, region string) string {
	t.Helper()
	client := bedrockruntime.New(bedrockruntime.Options{
		Region: region, BaseEndpoint: aws.String("http://" + address), Retryer: aws.NopRetryer{}, HTTPClient: plainBody{},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return key, nil }),
	})
	_, err := client.Converse(t.Context(), &bedrockruntime.ConverseInput{
		ModelId:  aws.String("amazon.nova-pro-v1:0"),
		Messages: []types.Message{{Role: types.ConversationRoleUser, Content: []types.ContentBlock{&types.ContentBlockMemberText{Value: "x"}}}},
	})
	var api smithy.APIError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &api):
		return api.ErrorCode()
	default:
		return "no answer"
	}
}

// plainBody is sim's: it hides that smithy-go's request body can write itself, which fails when an
// answer comes fast.
type plainBody struct{}

func (plainBody) Do(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Body = struct {
		io.Reader
		io.Closer
	}{r.Body, r.Body}
	return http.DefaultClient.Do(r)
}
