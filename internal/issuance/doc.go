// Package issuance turns a request, a template and a CA's key into a
// certificate: the template table, CSR intake, ApiPassthrough, validity
// arithmetic, name constraints, assembly of the bytes to be signed, the
// signature; and the checks of a CA certificate that is imported. It stores
// nothing and reads no clock.
//
// Rules are cited as T-n (certificate templates) and by section of the CA
// lifecycle. Refusals are *pca.Error values.
package issuance
