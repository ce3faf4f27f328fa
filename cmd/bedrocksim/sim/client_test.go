package sim

import (
	"errors"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// answerOf is the status and the exception of what the SDK returned.
func answerOf(err error) (status int, kind string) {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) {
		status = r.HTTPStatusCode()
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		kind = api.ErrorCode()
	}
	return status, kind
}
