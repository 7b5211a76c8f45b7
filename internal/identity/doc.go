// Package identity is who may do what on this server: accounts, users, roles,
// access keys, policies, web identity providers, and sessions. It has the
// operations of AWS IAM, STS and Organizations as methods, one each, in the
// shapes of AWS, and it is the iam.Credentials of every front.
//
// Long-lived secrets lie sealed in the store and are shown once. Sessions are
// kept nowhere: the secret of a session key follows from its id and the
// server's key, and the token, which the server sealed, says which role it is
// for, since when and until when. The role, its policies and its account are
// read when the session is used, so that a change to them acts at once.
//
// Who signs is found in a map; any change to anything about identities empties
// it, before the change is answered. So a key that was deleted is refused at
// the very next request.
//
// Callers are authorised by the fronts, but for the trust policy of a role that
// is assumed, which is judged here, and for what only the management account
// may do.
package identity
