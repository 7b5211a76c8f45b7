package proof

import (
	"context"
	"fmt"
)

type verifier struct{ VerifyConfig }

func (v *verifier) run(context.Context) (*Result, error) {
	return nil, fmt.Errorf("%w: not there yet", ErrCannotCheck)
}
