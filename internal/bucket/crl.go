package bucket

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"chirograph.dev/internal/pca"
)

// ContentTypeCRL is that of a CRL (RFC 5280 4.2.1.13).
const ContentTypeCRL = "application/pkix-crl"

// CRLGateRequest asks whether a CA may write its CRLs.
type CRLGateRequest struct {
	Bucket  string
	Keys    []string // of the CRLs, at least one
	ACL     pca.S3ObjectAcl
	CAARN   string
	Account string // the CA's owner
	// Try also tries the bucket, as with a report, and writes the test object of
	// the ACL. Set when the bucket is configured; not before every CRL.
	Try bool
}

// GateCRL is Gate for CRLs: it returns nil when the CA may write them now, with
// their ACL. Its errors are *pca.Error: ValidationException for a refusal or a
// bucket that is not there, RequestFailedException when the store cannot
// be asked, which alone is Temporary.
func (c *Client) GateCRL(ctx context.Context, r CRLGateRequest) error {
	g := GateRequest{Bucket: r.Bucket, Key: r.Keys[0], Beside: r.Keys[1:], CAARN: r.CAARN, Account: r.Account, Try: r.Try, crl: true, acl: cannedACL(r.ACL)}
	private := "as S3ObjectAcl choose BUCKET_OWNER_FULL_CONTROL, and let relying parties fetch the CRL by another way"
	if r.Try && g.acl == types.ObjectCannedACLPublicRead {
		if why := c.notPublic(ctx, r); why != "" {
			return noCRL(r, why, "For PUBLIC_READ, switch off Block Public Access for ACLs and switch on ACLs (Object Ownership: BucketOwnerPreferred); or "+private+".", nil)
		}
	}
	_, err := c.Gate(ctx, g)
	refused, ok := errors.AsType[*pca.Error](err)
	if !ok || refused.Code == pca.RequestFailedException {
		return err
	}
	if refused.Code == pca.ResourceNotFoundException {
		return noCRL(r, "there is no such bucket in "+c.name, "Create it, and attach a policy that lets "+ServicePrincipal+" write. "+c.remedy(g), refused.Err)
	}
	why := refused.Message
	if reason, ok := errors.AsType[*refusal](err); ok {
		why = reason.why
	}
	remedy := c.remedy(g)
	if g.acl == types.ObjectCannedACLPublicRead {
		remedy += " If it has this, the bucket may refuse objects that everybody can read: then " + private + "."
	}
	return noCRL(r, why, remedy, refused.Err)
}

// noCRL is the answer for a bucket that CRLs cannot be written to, in the words
// of AWS that clients match, with why and what to do.
func noCRL(r CRLGateRequest, why, remedy string, err error) error {
	return &pca.Error{
		Code: pca.ValidationException,
		Message: fmt.Sprintf("Permission error with your S3 bucket '%s'. Check that your bucket policy, encryption settings, S3 Block Public Access settings, and global account permissions are configured correctly. "+
			"For more information, check the service documentation. %s: %s. %s", r.Bucket, checkPermissions, why, remedy),
		Err: &refusal{why, err},
	}
}

// notPublic says why nobody could read what is written with PUBLIC_READ; empty
// when nothing is known that speaks against it.
func (c *Client) notPublic(ctx context.Context, r CRLGateRequest) string {
	ctx, cancel := context.WithTimeout(ctx, shortStep)
	defer cancel()
	// A store that does not tell is left to answer the write.
	block, err := c.owner.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: &r.Bucket, ExpectedBucketOwner: c.ownerOf(r.Account)}, c.in(r.Bucket))
	if err == nil && block.PublicAccessBlockConfiguration != nil &&
		(aws.ToBool(block.PublicAccessBlockConfiguration.BlockPublicAcls) || aws.ToBool(block.PublicAccessBlockConfiguration.IgnorePublicAcls)) {
		return "its Block Public Access settings forbid objects that everybody can read by their ACL, PUBLIC_READ"
	}
	ownership, err := c.owner.GetBucketOwnershipControls(ctx, &s3.GetBucketOwnershipControlsInput{Bucket: &r.Bucket, ExpectedBucketOwner: c.ownerOf(r.Account)}, c.in(r.Bucket))
	if err == nil && ownership.OwnershipControls != nil {
		for _, rule := range ownership.OwnershipControls.Rules {
			if rule.ObjectOwnership == types.ObjectOwnershipBucketOwnerEnforced {
				return "its Object Ownership, BucketOwnerEnforced, switches off ACLs and with them PUBLIC_READ"
			}
		}
	}
	return ""
}

func cannedACL(acl pca.S3ObjectAcl) types.ObjectCannedACL {
	if acl == pca.S3ObjectAcl_BUCKET_OWNER_FULL_CONTROL {
		return types.ObjectCannedACLBucketOwnerFullControl
	}
	return types.ObjectCannedACLPublicRead
}

// PutCRL writes a CRL, in the place of one with its key, in one step: whoever
// reads it sees the old or the new one, whole. The content type of o is that of
// a CRL. Then it looks at the object. Memory is bounded, whatever the size in
// bytes. See Refused and Temporary for its errors.
func (c *Client) PutCRL(ctx context.Context, o Object, acl pca.S3ObjectAcl, cacheControl string, body io.ReaderAt, size int64) error {
	o.ContentType, o.acl, o.cacheControl, o.replace = ContentTypeCRL, cannedACL(acl), cacheControl, true
	st := Stored{Size: size}
	err := c.putWhole(ctx, o, body, &st)
	// An error may come after the write. But without a checksum an older CRL of
	// the same size looks like this one.
	if err == nil || st.Checksum != "" {
		seen, lookErr := c.look(ctx, o, &st)
		if err == nil || seen {
			err = lookErr
		}
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", o.Key, err)
	}
	return nil
}

// putWhole writes an object of any size; the checksum is in st before the last
// request is made.
func (c *Client) putWhole(ctx context.Context, o Object, body io.ReaderAt, st *Stored) (err error) {
	read := func(b []byte, at int64) error {
		if n, err := body.ReadAt(b, at); n < len(b) {
			return fmt.Errorf("reading what is to be written: %w", err)
		}
		return nil
	}
	if st.Size <= MaxPut {
		b := make([]byte, st.Size)
		if err := read(b, 0); err != nil {
			return err
		}
		return c.putObject(ctx, o, b, sha256.Sum256(b), st)
	}
	// A part is never too small for S3, nor are there too many.
	b := make([]byte, max(MaxPut, st.Size/MaxParts+1))
	u, err := c.CreateUpload(ctx, o)
	if err != nil {
		return err
	}
	var parts []Part
	for at := int64(0); at < st.Size; at += int64(len(b)) {
		b = b[:min(int64(len(b)), st.Size-at)]
		if err = read(b, at); err != nil {
			break
		}
		var p Part
		if p, err = c.UploadPart(ctx, u, int32(len(parts)+1), b, sha256.Sum256(b)); err != nil {
			break
		}
		parts = append(parts, p)
	}
	if err == nil {
		*st, err = c.complete(ctx, u, parts)
	}
	if err != nil {
		// An upload that is not aborted is invisible; a later one may do it.
		_ = c.Abort(context.WithoutCancel(ctx), u)
	}
	return err
}
