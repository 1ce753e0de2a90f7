package report

import (
	"fmt"
	"strings"

	"github.com/org/deploy-model-action/pkg/deploy"
)

// smokeTest is the table of what the model was asked, what it was to answer, what
// it answered, and how long that took.
func smokeTest(r *deploy.Result) string {
	if len(r.Smoke) == 0 {
		return ""
	}
	rows := make([]string, len(r.Smoke))
	for i, x := range r.Smoke {
		mark := ready
		if !x.Right {
			mark = notReady
		}
		expected := make([]string, len(x.Expected))
		for i, e := range x.Expected {
			expected[i] = code(e)
		}
		rows[i] = fmt.Sprintf("| %s%s | %s | %s | %s |\n", mark, text(x.Name), strings.Join(expected, "<br>"), text(x.Got), latency(x))
	}
	return "### Smoke test\n\n" + table("request", "| request | expected | got | time |\n| :-- | :-- | :-- | --: |\n", rows)
}

// latency is how long the right answers took: fastest, median and slowest.
func latency(x deploy.Reply) string {
	switch x.Times {
	case 0:
		return ""
	case 1:
		return unbroken(duration(x.Slowest))
	}
	return fmt.Sprintf("%d times<br>fastest %s<br>median %s<br>slowest %s", x.Times, unbroken(duration(x.Fastest)), unbroken(duration(x.Median)), unbroken(duration(x.Slowest)))
}
