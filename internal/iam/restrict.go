package iam

import "fmt"

// Restrict gives a policy that is p with one condition more on each Allow
// statement that pick chooses. p stays as it is.
func (p *Policy) Restrict(pick func(*Statement) bool, c Condition) (*Policy, error) {
	compiled, err := compileCondition(c, p.version == version2012)
	if err != nil {
		return nil, err
	}
	restricted := *p
	restricted.statements = make([]*statement, len(p.statements))
	for i, s := range p.statements {
		if s.Effect == Allow && pick(&s.Statement) {
			narrower := *s
			narrower.Conditions = append(s.Conditions[:len(s.Conditions):len(s.Conditions)], c)
			narrower.conditions = append(s.conditions[:len(s.conditions):len(s.conditions)], compiled)
			s = &narrower
		}
		restricted.statements[i] = s
	}
	return &restricted, nil
}

// CheckConditions tells of the first condition that ParseResourcePolicy kept
// though nobody here knows what it means: its operator is unknown, or the
// operator cannot read a value.
func (p *Policy) CheckConditions() error {
	for i, s := range p.statements {
		for _, c := range s.Conditions {
			if _, err := compileCondition(c, p.version == version2012); err != nil {
				return fmt.Errorf("statement %d: %w", i+1, err)
			}
		}
	}
	return nil
}
