package pca

import (
	"encoding/json"
	"errors"
	"io"
	"testing"
	"time"
)

func TestHTTPStatus(t *testing.T) {
	t.Parallel()
	for code, want := range map[Code]int{
		MissingAuthenticationTokenException: 403, IncompleteSignatureException: 403, UnrecognizedClientException: 403,
		InvalidSignatureException: 403, ExpiredTokenException: 403, AccessDeniedException: 403, ThrottlingException: 400,
		ValidationException: 400, SerializationException: 400, UnknownOperationException: 404, RequestEntityTooLargeException: 413,
		RequestTimeoutException: 408, InternalFailure: 500, ServiceUnavailable: 503,
	} {
		if got := code.HTTPStatus(); got != want {
			t.Errorf("%s: %d, want %d", code, got, want)
		}
	}
	for _, op := range Operations() {
		for _, code := range op.Errors {
			if code.HTTPStatus() != 400 {
				t.Errorf("%s, which the model names, is not 400", code)
			}
		}
	}
}

func TestError(t *testing.T) {
	t.Parallel()
	e := &Error{Code: RequestFailedException, Message: "Try again.", Err: io.ErrUnexpectedEOF}
	if !errors.Is(e, io.ErrUnexpectedEOF) || e.Error() != "RequestFailedException: Try again.: unexpected EOF" {
		t.Error(e)
	}
	if e := Errorf(InvalidArgsException, "%d is wrong", 5); e.Error() != "InvalidArgsException: 5 is wrong" || e.Unwrap() != nil {
		t.Error(e)
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1526401743081).UTC()
	b, err := json.Marshal(struct {
		A *Timestamp
		B *EpochSeconds
		C *Timestamp `json:",omitempty"`
		D *Timestamp
	}{NewTimestamp(at), NewEpochSeconds(at), nil, NewTimestamp(at.Truncate(time.Second))})
	if err != nil || string(b) != `{"A":1526401743.081,"B":1526401743,"D":1526401743.000}` {
		t.Errorf("%s, %v", b, err)
	}
	var back struct {
		A Timestamp
		B EpochSeconds
	}
	if err := json.Unmarshal(b, &back); err != nil || !time.Time(back.A).Equal(at) || !time.Time(back.B).Equal(at.Truncate(time.Second)) {
		t.Errorf("%+v, %v", back, err)
	}
	if _, err := json.Marshal(NewTimestamp(time.Unix(-1, 0))); err == nil {
		t.Error("a time before the epoch was written")
	}
	far := NewEpochSeconds(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC))
	if b, err := json.Marshal(far); err != nil || string(b) != "253402300799" {
		t.Errorf("%s, %v", b, err)
	}
}
