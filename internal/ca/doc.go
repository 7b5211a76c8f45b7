// Package ca is the registry of certificate authorities and what they do, from
// their creation to the destruction of their keys, and what they themselves say
// about who may use them: policies, permissions, tags. One method per operation
// of the API, one file per operation; Authorize decides about all of them.
//
// Every use of a CA's key is appended to the CA's log before anything that the
// key signed can be read by anybody (design: the one invariant). Status changes
// of one CA are serialised; a certificate is issued only while its CA's status
// allows it, also when the status changes at the same moment.
package ca
