package object

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestReadDirectives(t *testing.T) {
	t.Parallel()
	const known = "the annotations are deploy-model-action/wait, deploy-model-action/ready-when, deploy-model-action/phase, deploy-model-action/prune, deploy-model-action/roll-on-config"
	expression, err := ParseExpression("{.status.phase} == Running")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name        string
		apiVersion  string
		kind        string
		annotations map[string]string
		want        Directives
		wrong       string
	}{
		{name: "none", kind: "Service"},
		{name: "of others", kind: "Service", annotations: map[string]string{"example.com/wait": "never", "deploy-model-action.example.com/wait": "x"}},
		{name: "marks of a run, as in an exported manifest", kind: "Service", annotations: map[string]string{RunAnnotation: "1-1", CommitAnnotation: "abc"}},
		{
			name: "all of a Job", apiVersion: "batch/v1", kind: "Job",
			annotations: map[string]string{WaitAnnotation: "true", ReadyWhenAnnotation: "{.status.phase} == Running", PhaseAnnotation: "before", PruneAnnotation: "false", RollOnConfigAnnotation: "false"},
			want:        Directives{ReadyWhen: expression, Phase: PhaseBefore, NoPrune: true, NoRollOnConfig: true},
		},
		{
			name: "a phase that nobody waits for", apiVersion: "batch/v1", kind: "Job",
			annotations: map[string]string{WaitAnnotation: "false", PhaseAnnotation: "after"},
			want:        Directives{NoWait: true, Phase: PhaseAfter},
			wrong:       "metadata.annotations: deploy-model-action/wait and deploy-model-action/phase exclude each other, as a Job of a phase has to succeed: leave one of them out",
		},
		{name: "the defaults, written out", kind: "Service", annotations: map[string]string{WaitAnnotation: "true", PruneAnnotation: "true", RollOnConfigAnnotation: "true"}},
		{
			name: "no boolean", kind: "Service", annotations: map[string]string{WaitAnnotation: "no"},
			wrong: `metadata.annotations: the value "no" of deploy-model-action/wait is neither "true" nor "false": write one of them, or leave the annotation out`,
		},
		{
			name: "a misspelt name", kind: "Service", annotations: map[string]string{Prefix + "ready_when": "{.a}"},
			wrong: `metadata.annotations: "deploy-model-action/ready_when" is not known: ` + known,
		},
		{
			name: "no phase", apiVersion: "batch/v1", kind: "Job", annotations: map[string]string{PhaseAnnotation: "first"},
			wrong: `metadata.annotations: the value "first" of deploy-model-action/phase is neither "before" nor "after": write one of them, or leave the annotation out`,
		},
		{
			name: "a phase of something without end", apiVersion: "apps/v1", kind: "Deployment", annotations: map[string]string{PhaseAnnotation: "after"},
			wrong: `metadata.annotations: deploy-model-action/phase is for a Job, as only a Job has an end: leave it out`,
		},
		{
			name: "two mistakes, and what is right", kind: "Service", annotations: map[string]string{ReadyWhenAnnotation: "{.a} = b", PruneAnnotation: "never", WaitAnnotation: "false"},
			want: Directives{NoWait: true},
			wrong: `metadata.annotations: the value "never" of deploy-model-action/prune is neither "true" nor "false": write one of them, or leave the annotation out` + "\n" +
				`metadata.annotations: the value "{.a} = b" of deploy-model-action/ready-when: compares by =; write == for a comparison`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			u := &unstructured.Unstructured{Object: map[string]any{}}
			u.SetAPIVersion(tt.apiVersion)
			u.SetKind(tt.kind)
			u.SetAnnotations(tt.annotations)
			got, err := ReadDirectives(u)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(Expression{})); diff != "" {
				t.Error(diff)
			}
			wrong := ""
			if err != nil {
				wrong = err.Error()
			}
			if diff := cmp.Diff(tt.wrong, wrong); diff != "" {
				t.Error(diff)
			}
		})
	}
}
