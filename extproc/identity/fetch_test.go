package identity

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aisix/admin/resource"
	"aisix/cmd/bedrocksim/sigv4"
	"aisix/cmd/bedrocksim/sim"
	"aisix/extproc/fault"
)

const theRole = "arn:aws:iam::210987654321:role/external-id/tenant-1/bedrock"

// amazon is the simulator as STS and as the host's metadata services. Nothing of this
// machine's own credentials is seen.
func amazon(t *testing.T) string {
	t.Helper()
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	t.Setenv("HOME", t.TempDir())
	v := &sigv4.Verifier{Keys: map[string][]sigv4.Key{"AKID": {{Secret: "secret"}}}, Service: "bedrock", Skew: time.Minute, Now: time.Now}
	server := httptest.NewServer(sim.New(v, slog.New(slog.DiscardHandler)))
	t.Cleanup(server.Close)
	return server.URL
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func identityToken(t *testing.T) string {
	claims := fmt.Sprintf(`{"iss":"https://oidc.example","sub":"a","aud":"sts.amazonaws.com","exp":%d}`, time.Now().Add(time.Hour).Unix())
	return write(t, "e30."+base64.RawURLEncoding.EncodeToString([]byte(claims))+".c2ln")
}

// Each kind is got as AWS's own SDK gets it, from what each place that may run a gateway has.
func TestEveryKind(t *testing.T) {
	key := resource.AccessKey{AccessKeyID: "AKID", SecretAccessKey: "secret"}
	for _, c := range []struct {
		name string
		set  func(t *testing.T, url string) resource.Credentials
		id   string // how the access key id begins
	}{
		{"a role by an access key", func(*testing.T, string) resource.Credentials {
			return resource.AssumeRole{RoleARN: theRole, ExternalID: "tenant-1", SessionName: "gw", Region: "eu-west-1", Source: key}
		}, "ASIA"},
		{"a role by the environment", func(t *testing.T, _ string) resource.Credentials {
			t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
			return resource.AssumeRole{RoleARN: theRole, ExternalID: "tenant-1", SessionName: "gw", Region: "eu-west-1"}
		}, "ASIA"},
		{"a role by another role", func(t *testing.T, url string) resource.Credentials {
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url+"/v2/credentials/1")
			return resource.AssumeRole{RoleARN: theRole, ExternalID: "tenant-1", SessionName: "gw", Region: "eu-west-1"}
		}, "ASIA"},
		{"IRSA", func(t *testing.T, _ string) resource.Credentials {
			return resource.WebIdentity{RoleARN: theRole, TokenFile: identityToken(t), Region: "eu-west-1"}
		}, "ASIA"},
		{"the environment", func(t *testing.T, _ string) resource.Credentials {
			t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
			return resource.Ambient{Region: "eu-west-1"}
		}, "AKID"},
		{"a profile", func(t *testing.T, _ string) resource.Credentials {
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", write(t, "[gateway]\naws_access_key_id=AKID\naws_secret_access_key=secret\n"))
			t.Setenv("AWS_PROFILE", "gateway")
			return resource.Ambient{Region: "eu-west-1"}
		}, "AKID"},
		{"IRSA, by the pod's environment", func(t *testing.T, _ string) resource.Credentials {
			t.Setenv("AWS_ROLE_ARN", theRole)
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", identityToken(t))
			return resource.Ambient{Region: "eu-west-1"}
		}, "ASIA"},
		{"ECS", func(t *testing.T, url string) resource.Credentials {
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url+"/v2/credentials/1")
			return resource.Ambient{Region: "eu-west-1"}
		}, "ASIA"},
		{"EKS Pod Identity", func(t *testing.T, url string) resource.Credentials {
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url+"/v1/credentials")
			t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", write(t, "a.b.c"))
			return resource.Ambient{Region: "eu-west-1"}
		}, "ASIA"},
		{"EC2", func(t *testing.T, url string) resource.Credentials {
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
			return resource.Ambient{Region: "eu-west-1"}
		}, "ASIA"},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := amazon(t)
			k := &resource.ProviderKey{DisplayName: "prod", Credentials: c.set(t, url)}
			s := New(Options{Grants: resource.Grants{Ambient: true, TokenDirs: []string{os.TempDir()}}, STSEndpoint: url, Log: slog.New(slog.DiscardHandler)})
			defer s.Close()
			token, err := s.Token(t.Context(), k)
			if err != nil || !strings.HasPrefix(token.AccessKeyID, c.id) || token.SecretAccessKey == "" || token.Bearer != "" {
				t.Fatalf("%+v %v", token, err)
			}
			if temporary := c.id == "ASIA"; temporary == token.Expires.IsZero() || temporary == (token.SessionToken == "") || temporary && time.Until(token.Expires) > time.Hour+time.Minute {
				t.Errorf("%+v", token)
			}
		})
	}
}

// What AWS refuses is told to the operator in its words, and to the caller without any.
func TestRefusedBySTS(t *testing.T) {
	url := amazon(t)
	k := &resource.ProviderKey{DisplayName: "prod", Credentials: resource.AssumeRole{RoleARN: theRole, ExternalID: "wrong", SessionName: "gw", Region: "eu-west-1",
		Source: resource.AccessKey{AccessKeyID: "AKID", SecretAccessKey: "secret"}}}
	s := New(Options{STSEndpoint: url, Log: slog.New(slog.DiscardHandler)})
	defer s.Close()
	_, err := s.Token(t.Context(), k)
	var f *fault.Error
	if !errors.As(err, &f) || f.Status != http.StatusBadGateway || f.Message != "upstream authentication failed" || !strings.Contains(f.Err.Error(), "AccessDenied") || strings.Contains(f.Err.Error(), "secret") {
		t.Errorf("%+v", err)
	}
}

// Where a region has no private STS, its own endpoint is asked, and no global one.
func TestRegionalEndpoint(t *testing.T) {
	s := New(Options{})
	defer s.Close()
	o := s.sts("eu-west-1", nil).Options()
	if o.BaseEndpoint != nil || o.Region != "eu-west-1" {
		t.Errorf("%v", o.BaseEndpoint)
	}
}
