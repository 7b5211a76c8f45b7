package identity

import (
	"context"
	"net/http"

	"chirograph.dev/internal/iam"
)

// Clients ask for these before they delete a user, Terraform with
// force_destroy among them. This server has none of them: the lists are empty.

// UserPage is a list request about a user; without a name about the caller.
type UserPage struct {
	UserName string `min:"1" max:"128" pattern:"[\\w+=,.@-]+"`
	Page
}

// Resource is the user.
func (in *UserPage) Resource(partition string, caller *iam.Principal) string {
	return userARN(partition, caller, in.UserName)
}

type ListSSHPublicKeysInput struct{ UserPage }
type ListSSHPublicKeysOutput struct {
	SSHPublicKeys []struct{}
	NextPage
}

// ListSSHPublicKeys lists nothing.
func (s *Service) ListSSHPublicKeys(ctx context.Context, in *ListSSHPublicKeysInput) (*ListSSHPublicKeysOutput, error) {
	_, err := s.user(ctx, in.UserName)
	return &ListSSHPublicKeysOutput{}, err
}

type ListMFADevicesInput struct{ UserPage }
type ListMFADevicesOutput struct {
	MFADevices []struct{}
	NextPage
}

// ListMFADevices lists nothing.
func (s *Service) ListMFADevices(ctx context.Context, in *ListMFADevicesInput) (*ListMFADevicesOutput, error) {
	_, err := s.user(ctx, in.UserName)
	return &ListMFADevicesOutput{}, err
}

type ListVirtualMFADevicesInput struct{ Page }
type ListVirtualMFADevicesOutput struct {
	VirtualMFADevices []struct{}
	NextPage
}

func (in *ListVirtualMFADevicesInput) Resource(string, *iam.Principal) string { return "*" }

// ListVirtualMFADevices lists nothing.
func (s *Service) ListVirtualMFADevices(context.Context, *ListVirtualMFADevicesInput) (*ListVirtualMFADevicesOutput, error) {
	return &ListVirtualMFADevicesOutput{}, nil
}

type ListSigningCertificatesInput struct{ UserPage }
type ListSigningCertificatesOutput struct {
	Certificates []struct{}
	NextPage
}

// ListSigningCertificates lists nothing.
func (s *Service) ListSigningCertificates(ctx context.Context, in *ListSigningCertificatesInput) (*ListSigningCertificatesOutput, error) {
	_, err := s.user(ctx, in.UserName)
	return &ListSigningCertificatesOutput{}, err
}

type ListServiceSpecificCredentialsInput struct{ UserPage }
type ListServiceSpecificCredentialsOutput struct {
	ServiceSpecificCredentials []struct{}
	NextPage
}

// ListServiceSpecificCredentials lists nothing.
func (s *Service) ListServiceSpecificCredentials(ctx context.Context, in *ListServiceSpecificCredentialsInput) (*ListServiceSpecificCredentialsOutput, error) {
	_, err := s.user(ctx, in.UserName)
	return &ListServiceSpecificCredentialsOutput{}, err
}

type GetLoginProfileInput struct{ UserPage }
type GetLoginProfileOutput struct{}

// GetLoginProfile finds nothing: nobody has a password.
func (s *Service) GetLoginProfile(_ context.Context, in *GetLoginProfileInput) (*GetLoginProfileOutput, error) {
	return nil, noPassword(in.UserName)
}

type DeleteLoginProfileInput struct{ UserPage }
type DeleteLoginProfileOutput struct{}

// DeleteLoginProfile finds nothing: nobody has a password.
func (s *Service) DeleteLoginProfile(_ context.Context, in *DeleteLoginProfileInput) (*DeleteLoginProfileOutput, error) {
	return nil, noPassword(in.UserName)
}

func noPassword(user string) error {
	return &Error{Code: "NoSuchEntity", Message: "Login Profile for User " + user + " cannot be found.", Status: http.StatusNotFound}
}
