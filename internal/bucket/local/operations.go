package local

import (
	"net/http"
	"strings"
)

// operation is one operation of the service: what S3 calls it, the actions
// that the caller needs on the bucket or object (without s3:; further ones are
// checked by serve), and what it does.
type operation struct {
	name    string
	actions []string
	serve   func(*Service, *request) (*reply, error)
}

// operations are keyed by method, level and sub-resource.
func operations() map[string]*operation {
	op := func(name, actions string, serve func(*Service, *request) (*reply, error)) *operation {
		return &operation{name: name, actions: strings.Fields(actions), serve: serve}
	}
	return map[string]*operation{
		"GET service": op("ListBuckets", "", (*Service).listBuckets),

		"PUT bucket":                      op("CreateBucket", "CreateBucket", (*Service).createBucket),
		"HEAD bucket":                     op("HeadBucket", "ListBucket", (*Service).headBucket),
		"DELETE bucket":                   op("DeleteBucket", "DeleteBucket", (*Service).deleteBucket),
		"GET bucket":                      op("ListObjects", "ListBucket", (*Service).listObjects),
		"GET bucket list-type":            op("ListObjectsV2", "ListBucket", (*Service).listObjectsV2),
		"POST bucket delete":              op("DeleteObjects", "", (*Service).deleteObjects),
		"GET bucket location":             op("GetBucketLocation", "GetBucketLocation", (*Service).getBucketLocation),
		"GET bucket acl":                  op("GetBucketAcl", "GetBucketAcl", (*Service).getBucketACL),
		"PUT bucket acl":                  op("PutBucketAcl", "PutBucketAcl", (*Service).putBucketACL),
		"GET bucket policy":               op("GetBucketPolicy", "GetBucketPolicy", (*Service).getBucketPolicy),
		"PUT bucket policy":               op("PutBucketPolicy", "PutBucketPolicy", (*Service).putBucketPolicy),
		"DELETE bucket policy":            op("DeleteBucketPolicy", "DeleteBucketPolicy", (*Service).deleteBucketPolicy),
		"GET bucket policyStatus":         op("GetBucketPolicyStatus", "GetBucketPolicyStatus", (*Service).getBucketPolicyStatus),
		"GET bucket publicAccessBlock":    op("GetPublicAccessBlock", "GetBucketPublicAccessBlock", (*Service).getPublicAccessBlock),
		"PUT bucket publicAccessBlock":    op("PutPublicAccessBlock", "PutBucketPublicAccessBlock", (*Service).putPublicAccessBlock),
		"DELETE bucket publicAccessBlock": op("DeletePublicAccessBlock", "PutBucketPublicAccessBlock", (*Service).deletePublicAccessBlock),
		"GET bucket ownershipControls":    op("GetBucketOwnershipControls", "GetBucketOwnershipControls", (*Service).getOwnershipControls),
		"PUT bucket ownershipControls":    op("PutBucketOwnershipControls", "PutBucketOwnershipControls", (*Service).putOwnershipControls),
		"DELETE bucket ownershipControls": op("DeleteBucketOwnershipControls", "PutBucketOwnershipControls", (*Service).deleteOwnershipControls),
		"GET bucket encryption":           op("GetBucketEncryption", "GetEncryptionConfiguration", (*Service).getBucketEncryption),
		"GET bucket versioning":           op("GetBucketVersioning", "GetBucketVersioning", (*Service).getBucketVersioning),
		"GET bucket object-lock":          op("GetObjectLockConfiguration", "GetBucketObjectLockConfiguration", (*Service).getObjectLockConfiguration),
		"PUT bucket object-lock":          op("PutObjectLockConfiguration", "PutBucketObjectLockConfiguration", (*Service).putObjectLockConfiguration),
		"GET bucket uploads":              op("ListMultipartUploads", "ListBucketMultipartUploads", (*Service).listMultipartUploads),

		"PUT object":            op("PutObject", "PutObject", (*Service).putObject),
		"PUT object copy":       op("CopyObject", "PutObject", (*Service).copyObject),
		"GET object":            op("GetObject", "", (*Service).getObject),
		"HEAD object":           op("HeadObject", "", (*Service).getObject),
		"DELETE object":         op("DeleteObject", "DeleteObject", (*Service).deleteObject),
		"GET object attributes": op("GetObjectAttributes", "GetObject GetObjectAttributes", (*Service).getObjectAttributes),
		"GET object acl":        op("GetObjectAcl", "GetObjectAcl", (*Service).getObjectACL),
		"PUT object acl":        op("PutObjectAcl", "PutObjectAcl", (*Service).putObjectACL),
		"GET object tagging":    op("GetObjectTagging", "GetObjectTagging", (*Service).getObjectTagging),
		"GET object retention":  op("GetObjectRetention", "GetObjectRetention", (*Service).getObjectRetention),
		"PUT object retention":  op("PutObjectRetention", "PutObjectRetention", (*Service).putObjectRetention),
		"GET object legal-hold": op("GetObjectLegalHold", "GetObjectLegalHold", (*Service).getObjectLegalHold),
		"PUT object legal-hold": op("PutObjectLegalHold", "PutObjectLegalHold", (*Service).putObjectLegalHold),

		"POST object uploads":      op("CreateMultipartUpload", "PutObject", (*Service).createMultipartUpload),
		"PUT object uploadId":      op("UploadPart", "PutObject", (*Service).uploadPart),
		"PUT object uploadId copy": op("UploadPartCopy", "PutObject", (*Service).uploadPartCopy),
		"GET object uploadId":      op("ListParts", "", (*Service).listUploadParts),
		"POST object uploadId":     op("CompleteMultipartUpload", "PutObject", (*Service).completeMultipartUpload),
		"DELETE object uploadId":   op("AbortMultipartUpload", "", (*Service).abortMultipartUpload),
	}
}

// subresources are the query parameters that choose an operation. Those that
// no entry of operations has are S3's that this service does not keep; they
// are refused, because without them the request would mean something else.
var subresources = [...]string{
	"uploadId", "uploads", "list-type", "delete", "location", "acl", "policy", "policyStatus", "publicAccessBlock",
	"ownershipControls", "encryption", "versioning", "object-lock", "attributes", "tagging", "retention", "legal-hold",
	"accelerate", "analytics", "cors", "intelligent-tiering", "inventory", "lifecycle", "logging", "metadataConfiguration",
	"metadataTable", "metadataInventoryTable", "metadataJournalTable", "metrics", "notification", "renameObject", "replication",
	"requestPayment", "restore", "select", "session", "torrent", "versions", "website", "append", "abac", "encryptionConfiguration",
}

// route finds the operation of a request.
func (s *Service) route(q *request) (*operation, error) {
	level := "service"
	if q.bucket != "" {
		level = "bucket"
		if q.key != "" {
			level = "object"
		}
	}
	sub := ""
	for _, name := range subresources {
		if !q.query.Has(name) {
			continue
		}
		if sub != "" {
			return nil, errInvalidArgument("ResourceType", name, "Conflicting query parameters: %s and %s", sub, name)
		}
		sub = name
	}
	if q.method != http.MethodGet && q.method != http.MethodHead {
		// An unknown parameter may be a sub-resource of a newer S3: DELETE
		// with it must not delete the whole.
		for name := range q.query {
			if name != sub && !harmlessParameter(name) {
				return nil, errNotImplemented("parameter " + name)
			}
		}
	}
	key := q.method + " " + level
	if sub != "" {
		key += " " + sub
	}
	if level == "object" && q.method == http.MethodPut && (sub == "" || sub == "uploadId") && q.header.Get("X-Amz-Copy-Source") != "" {
		key += " copy"
	}
	if op := s.routes[key]; op != nil {
		if sub == "list-type" && q.query.Get("list-type") != "2" {
			return nil, errInvalidArgument("list-type", q.query.Get("list-type"), "Invalid list-type")
		}
		if v := q.query.Get("versionId"); v != "" && v != "null" {
			return nil, errorf("NoSuchVersion", "The specified version does not exist. Versions are not kept.").with("VersionId", v)
		}
		return op, nil
	}
	if sub == "" {
		return nil, errorf("MethodNotAllowed", "The specified method is not allowed against this resource.").with("Method", q.method).with("ResourceType", strings.ToUpper(level))
	}
	return nil, errNotImplemented("parameter " + sub)
}

func harmlessParameter(name string) bool {
	switch name {
	case "x-id", "versionId", "partNumber":
		return true
	}
	return len(name) > 6 && strings.EqualFold(name[:6], "x-amz-")
}
