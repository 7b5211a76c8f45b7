package awsjson

import (
	"bytes"
	"context"
	"errors"
	"net/http"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/pca"
)

// Plain answers paths of this server's own, whose requests and answers are
// bytes and not operations of a protocol. The checks, their order, the errors,
// the log lines and the metrics are those of a Handler. It is safe for
// concurrent use.
type Plain struct {
	h     *Handler
	route func(*http.Request) (Route, error)
}

// Route is what a request to a Plain asks for.
type Route struct {
	// Action is the action that it needs, such as pcaaudit:GetProof. It is its
	// name in logs, metrics and Rates, too.
	Action string
	// Own says that the route tells callers only what is theirs to know, such
	// as what they may do: it needs no action, and Action is but its name.
	Own bool
	// MaxBody is the size of the largest body in bytes.
	MaxBody int64
	// Status is that of a success; 0: 200.
	Status int
	// Serve gives the answer; it knows the caller by ctx, must have the action
	// allowed with Authorize before it tells anything, and sets what headers
	// there are with SetHeader once it cannot fail any more.
	Serve func(ctx context.Context, body []byte) ([]byte, error)
}

// NewPlain makes a Plain; route looks at method, path and query alone. Of cfg
// the operations are not used, and Rates are by action, as are those of Limits.
func NewPlain(cfg Config, route func(*http.Request) (Route, error)) (*Plain, error) {
	rates := cfg.Rates
	cfg.Operations, cfg.Rates = nil, nil
	h, err := New(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.Limits == nil {
		h.throttle = newThrottle(rates)
	}
	return &Plain{h, route}, nil
}

// ServeHTTP answers one request.
func (p *Plain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.h.answer(w, r, plainStatus, func(c *call, buf *bytes.Buffer) error { return p.serve(w, r, c, buf) })
}

// plainStatus gives those codes their status whose readers go by that alone.
func plainStatus(code pca.Code) int {
	switch code {
	case pca.ResourceNotFoundException:
		return http.StatusNotFound
	case pca.ThrottlingException:
		return http.StatusTooManyRequests
	}
	return code.HTTPStatus()
}

func (p *Plain) serve(w http.ResponseWriter, r *http.Request, c *call, buf *bytes.Buffer) error {
	route, err := p.route(r)
	if err != nil {
		return err
	}
	c.Operation = route.Action
	if err := p.h.admit(w, r, c, buf, route.MaxBody); err != nil {
		return err
	}
	defer p.h.inFlight.leave()
	c.conditions = map[string][]string{}
	iam.SetRequestConditions(c.conditions, r, p.h.cfg.Now())
	out, err := route.Serve(context.WithValue(r.Context(), contextKey{}, c), buf.Bytes())
	if err != nil {
		return err
	}
	if !c.allowed && !route.Own {
		return errors.New("the route was served without an Allow")
	}
	c.status = route.Status
	buf.Reset()
	buf.Write(out)
	return nil
}
