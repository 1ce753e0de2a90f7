package google

import "github.com/google/cel-go/cel"

// holds evaluates a condition, which Google also writes in CEL. One that cannot
// be evaluated does not hold.
func holds(expression string, variables map[string]any) bool {
	var options []cel.EnvOption
	for name := range variables {
		options = append(options, cel.Variable(name, cel.DynType))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return false
	}
	ast, issues := env.Compile(expression)
	if issues.Err() != nil {
		return false
	}
	program, err := env.Program(ast)
	if err != nil {
		return false
	}
	result, _, err := program.Eval(variables)
	if err != nil {
		return false
	}
	value, ok := result.Value().(bool)
	return ok && value
}
