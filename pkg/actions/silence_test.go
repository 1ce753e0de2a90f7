package actions

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/klog/v2"
)

// Not parallel: it is about the process.
func TestSilence(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	stderr, writer := os.Stderr, log.Writer()
	defer func() {
		os.Stderr = stderr
		log.SetOutput(writer)
		klog.ClearLogger()
	}()
	os.Stderr = file
	log.SetOutput(file)

	Silence(&os.Stderr)
	fmt.Fprintln(os.Stderr, "# Warning: 'bases' is deprecated")
	log.Printf("Unsolicited response received on idle HTTP channel starting with %q", "##[set-output name=image]evil")
	klog.Errorf("watch of %s ended with: %v", "##[set-output name=image]evil", errors.New("reset"))
	klog.Background().Error(nil, "##[set-output name=image]evil")
	klog.Flush()

	if _, err := file.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if content, err := io.ReadAll(file); err != nil || len(content) > 0 {
		t.Errorf("printed %q, error %v", content, err)
	}
}
