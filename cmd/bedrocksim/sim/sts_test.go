package sim

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
)

const aRole = "arn:aws:iam::210987654321:role/team/bedrock"

func (s *simulator) sts(id, secret, token string) *sts.Client {
	return sts.New(sts.Options{Region: "us-west-2", BaseEndpoint: aws.String(s.URL), Retryer: aws.NopRetryer{}, Credentials: credentials.NewStaticCredentialsProvider(id, secret, token)})
}

func (s *simulator) own() *sts.Client { return s.sts("AKID", "secret", "") }

func assume(ctx context.Context, c *sts.Client, role, external string) (*types.Credentials, error) {
	in := &sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: aws.String("gateway")}
	if external != "" {
		in.ExternalId = &external
	}
	out, err := c.AssumeRole(ctx, in)
	if err != nil {
		return nil, err
	}
	return out.Credentials, nil
}

func deniedWith(t *testing.T, err error, code string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) || e.ErrorCode() != code {
		t.Errorf("%v, want %s", err, code)
	}
}

func jwt(claims string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

func init() {
	behaviours["session"] = func(t *testing.T, s *simulator) {
		s.put(t, "session=1s")
		c, err := assume(t.Context(), s.own(), aRole, "")
		if err != nil || time.Until(*c.Expiration) > 2*time.Second {
			t.Fatalf("%v %v", c, err)
		}
		mine := aws.Credentials{AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: *c.SessionToken}
		client := clientOf(s.URL, mine)
		for { // until it ends
			_, err := (&simulator{s.Server, client}).converse(t.Context(), nova, "x")
			if _, kind, _ := answerOf(err); kind == "ExpiredTokenException" {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		_, err = s.sts(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken).GetCallerIdentity(t.Context(), nil)
		deniedWith(t, err, "ExpiredToken")
	}
	behaviours["sts"] = func(t *testing.T, s *simulator) {
		for how, code := range map[string]string{"deny": "AccessDenied", "throttle": "Throttling", "away": "ServiceUnavailable"} {
			s.put(t, "sts="+how)
			_, err := assume(t.Context(), s.own(), aRole, "")
			deniedWith(t, err, code)
			if _, err := s.converse(t.Context(), nova, "x"); err != nil {
				t.Errorf("%s: models do not answer either: %v", how, err)
			}
		}
		s.put(t, "sts=stall")
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := assume(ctx, s.own(), aRole, ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	}
}

func TestTemporaryCredentialsSignAsTheirRole(t *testing.T) {
	s := start(t)
	c, err := assume(t.Context(), s.own(), aRole, "")
	if err != nil {
		t.Fatal(err)
	}
	who, err := s.sts(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken).GetCallerIdentity(t.Context(), nil)
	if err != nil || *who.Arn != "arn:aws:sts::210987654321:assumed-role/bedrock/gateway" || *who.Account != "210987654321" {
		t.Errorf("%+v %v", who, err)
	}
	client := clientOf(s.URL, aws.Credentials{AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: *c.SessionToken})
	if _, err := (&simulator{s.Server, client}).converse(t.Context(), nova, "x"); err != nil {
		t.Error(err)
	}
	for _, wrong := range []aws.Credentials{
		{AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey},
		{AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: *c.SessionToken + "x"},
		{AccessKeyID: *c.AccessKeyId, SecretAccessKey: "other", SessionToken: *c.SessionToken},
	} {
		if _, err := (&simulator{s.Server, clientOf(s.URL, wrong)}).converse(t.Context(), nova, "x"); err == nil {
			t.Errorf("%+v is good", wrong)
		}
	}
	_, err = s.sts("AKID", "wrong", "").GetCallerIdentity(t.Context(), nil)
	deniedWith(t, err, "SignatureDoesNotMatch")
	_, err = s.sts("AKOTHER", "wrong", "").GetCallerIdentity(t.Context(), nil)
	deniedWith(t, err, "InvalidClientTokenId")
}

func TestRolesAreGivenToThoseWhomTheyTrust(t *testing.T) {
	s := start(t)
	const tenant = "arn:aws:iam::210987654321:role/external-id/tenant-1/bedrock"
	for _, external := range []string{"", "tenant-2"} {
		_, err := assume(t.Context(), s.own(), tenant, external)
		deniedWith(t, err, "AccessDenied")
	}
	if _, err := assume(t.Context(), s.own(), tenant, "tenant-1"); err != nil {
		t.Error(err)
	}
	_, err := assume(t.Context(), s.own(), "arn:aws:iam::210987654321:role/denied", "")
	deniedWith(t, err, "AccessDenied")
	for _, bad := range []*sts.AssumeRoleInput{
		{RoleArn: aws.String("arn:aws:iam::210987654321:user/bedrock"), RoleSessionName: aws.String("gateway")},
		{RoleArn: aws.String(aRole), RoleSessionName: aws.String("g w")},
		{RoleArn: aws.String(aRole), RoleSessionName: aws.String("gateway"), DurationSeconds: aws.Int32(60)},
		{RoleArn: aws.String(aRole), RoleSessionName: aws.String("gateway"), DurationSeconds: aws.Int32(7200)},
		{RoleArn: aws.String(aRole), RoleSessionName: aws.String("gateway"), ExternalId: aws.String("a b")},
	} {
		_, err := s.own().AssumeRole(t.Context(), bad)
		deniedWith(t, err, "ValidationError")
	}
	_, err = s.own().GetSessionToken(t.Context(), nil)
	deniedWith(t, err, "InvalidAction")
}

func TestWebIdentityTokensAreRead(t *testing.T) {
	s := start(t)
	good := fmt.Sprintf(`{"iss":"https://oidc.example","sub":"system:serviceaccount:a:b","aud":["sts.amazonaws.com"],"exp":%d}`, time.Now().Add(time.Minute).Unix())
	for token, want := range map[string]string{
		jwt(good): "",
		jwt(`{"aud":"sts.amazonaws.com","exp":1}`):  "ExpiredTokenException",
		jwt(strings.Replace(good, "sts.", "x.", 1)): "InvalidIdentityToken",
		jwt("no JSON"): "InvalidIdentityToken",
		"no.token":     "InvalidIdentityToken",
	} {
		out, err := s.own().AssumeRoleWithWebIdentity(t.Context(), &sts.AssumeRoleWithWebIdentityInput{RoleArn: aws.String(aRole), RoleSessionName: aws.String("x2"), WebIdentityToken: &token})
		switch {
		case want != "":
			deniedWith(t, err, want)
		case err != nil || *out.SubjectFromWebIdentityToken != "system:serviceaccount:a:b" || *out.Provider != "https://oidc.example":
			t.Errorf("%+v %v", out, err)
		}
	}
}

// Nothing of an instance's metadata without a session of IMDSv2, nothing of a pod's
// without its token.
func TestMetadataWantsItsTokens(t *testing.T) {
	s := start(t)
	get := func(method, path string, header ...string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(body)
	}
	const ttl, session = "X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token"
	status, token := get(http.MethodPut, imdsToken, ttl, "60")
	if status != 200 || token == "" {
		t.Fatal(status, token)
	}
	for _, c := range []struct {
		status int
		method string
		path   string
		header []string
	}{
		{400, http.MethodPut, imdsToken, nil},
		{400, http.MethodPut, imdsToken, []string{ttl, "21601"}},
		{400, http.MethodPut, imdsToken, []string{ttl, "60", "X-Forwarded-For", "10.0.0.1"}},
		{405, http.MethodGet, imdsToken, []string{ttl, "60"}},
		{401, http.MethodGet, imdsRoles, nil},
		{401, http.MethodGet, imdsRoles, []string{session, "x"}},
		{200, http.MethodGet, imdsRoles, []string{session, token}},
		{200, http.MethodGet, imdsRoles + hostRole, []string{session, token}},
		{404, http.MethodGet, imdsRoles + "other", []string{session, token}},
		{401, http.MethodGet, eksCredentials, nil},
		{200, http.MethodGet, eksCredentials, []string{"Authorization", "a.b.c"}},
		{200, http.MethodGet, ecsCredentials + "1234", nil},
	} {
		if status, body := get(c.method, c.path, c.header...); status != c.status {
			t.Errorf("%s %s %q: %d %s", c.method, c.path, c.header, status, body)
		}
	}
}
