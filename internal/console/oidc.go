package console

// OIDC is how people sign in with an OIDC provider.
type OIDC struct {
	Name string // shown on the button
}
