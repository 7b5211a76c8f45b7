package bucket

import "context"

// GateRequest asks whether a CA may write one object.
type GateRequest struct {
	Bucket  string
	Key     string
	CAARN   string
	Account string // the CA's owner
	// Try also tries the bucket as Config.Preflight says, or, with
	// AuthorizeCredentials, by a multipart upload that is aborted. Set when a
	// report is asked for; not when the gate is passed again before Complete.
	Try bool
}

// GateDecision is why the gate let a request pass; it goes into the report's
// manifest (D-13).
type GateDecision struct {
	Authorization Authorization
	PolicySHA256  []byte // of the policy's text; nil with AuthorizeCredentials
	Region        string // where the bucket is
}

// Gate returns nil when the CA may write the object now. Its errors are
// *pca.Error: ResourceNotFoundException for a bucket that is not there,
// ValidationException for a refusal, RequestFailedException when the store
// cannot be asked; see Temporary.
func (c *Client) Gate(ctx context.Context, r GateRequest) (*GateDecision, error) {
	return nil, ctx.Err()
}
