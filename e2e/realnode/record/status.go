package record

import (
	"reflect"

	corev1 "k8s.io/api/core/v1"
)

// Status is what a pod's status says to those who wait for it.
type Status struct {
	Phase          string      `json:"phase"`
	Reason         string      `json:"reason,omitempty"`
	Message        string      `json:"message,omitempty"`
	Conditions     []Condition `json:"conditions,omitempty"`
	InitContainers []Container `json:"initContainers,omitempty"`
	Containers     []Container `json:"containers,omitempty"`
}

// Condition is one of a pod's conditions.
type Condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

// Container is the status of one container.
type Container struct {
	Name     string `json:"name"`
	Image    string `json:"image"`
	ImageID  string `json:"imageID"`
	Ready    bool   `json:"ready"`
	Started  string `json:"started"` // true, false or nil
	Restarts int32  `json:"restarts"`
	State    State  `json:"state"`
	Last     State  `json:"last"`
}

// State is what a container does; the empty one says nothing.
type State struct {
	State    string `json:"state,omitempty"` // waiting, running or terminated
	Reason   string `json:"reason,omitempty"`
	Message  string `json:"message,omitempty"`
	ExitCode int32  `json:"exitCode,omitempty"`
	Signal   int32  `json:"signal,omitempty"`
}

func (s Status) equal(other Status) bool { return reflect.DeepEqual(s, other) }

func statusOf(pod *corev1.Pod) Status {
	names := namesOf(pod)
	s := Status{Phase: string(pod.Status.Phase), Reason: pod.Status.Reason, Message: Normal(pod.Status.Message, names...)}
	for _, c := range pod.Status.Conditions {
		s.Conditions = append(s.Conditions, Condition{string(c.Type), string(c.Status), c.Reason, Normal(c.Message, names...)})
	}
	s.InitContainers = containers(pod.Status.InitContainerStatuses, names)
	s.Containers = containers(pod.Status.ContainerStatuses, names)
	return s
}

func containers(all []corev1.ContainerStatus, names []string) []Container {
	var out []Container
	for _, c := range all {
		started := "nil"
		if c.Started != nil {
			started = map[bool]string{true: "true", false: "false"}[*c.Started]
		}
		out = append(out, Container{
			Name: c.Name, Image: Normal(c.Image, names...), ImageID: Normal(c.ImageID, names...),
			Ready: c.Ready, Started: started, Restarts: c.RestartCount,
			State: state(c.State, names), Last: state(c.LastTerminationState, names),
		})
	}
	return out
}

func state(s corev1.ContainerState, names []string) State {
	switch {
	case s.Waiting != nil:
		return State{State: "waiting", Reason: s.Waiting.Reason, Message: Normal(s.Waiting.Message, names...)}
	case s.Running != nil:
		return State{State: "running"}
	case s.Terminated != nil:
		t := s.Terminated
		return State{State: "terminated", Reason: t.Reason, Message: Normal(t.Message, names...), ExitCode: t.ExitCode, Signal: t.Signal}
	}
	return State{}
}
