package publish_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/org/deploy-model-action/e2e/google"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/proxy"
	"github.com/org/deploy-model-action/e2e/registry"
	"github.com/org/deploy-model-action/e2e/runner"
)

// commit is the tag of the refusals, for the golden file.
const commit = "6f1d0c2b7a9e4d5f8c3b2a190e7f6d5c4b3a2918"

// refusal is a step that must end with one sentence, and leave the cluster as
// it is.
type refusal struct {
	name string
	code int
	host string // the input registry_host; default, a repository of its own in Artifact Registry
	// arrange prepares workspace and cloud, and returns the inputs to replace; by
	// default there is a good archive, and push names it.
	arrange func(p *place) map[string]string
	step    func(p *place, s *runner.Step)
	// published says that the image may be in the registry in the end, under the
	// tag of the commit.
	published bool
}

// good is an archive that can be published.
func good(p *place) {
	p.Helper()
	p.Write("model.tar", string(tarOf(p.T, saved(p.T, model(p.T, "good", sizes), p.image(commit)))))
}

// content makes the archive something else.
func content(file string, bytes func(p *place) []byte) func(*place) map[string]string {
	return func(p *place) map[string]string {
		p.Write(file, string(bytes(p)))
		return map[string]string{"push": file}
	}
}

// path has the input push name something, with a good archive in the workspace.
func path(push string) func(*place) map[string]string {
	return func(*place) map[string]string { return map[string]string{"push": push} }
}

// login is a name and a password for the registry.
func login(user, password string) func(*place) map[string]string {
	return func(*place) map[string]string {
		return map[string]string{"registry_username": user, "registry_password": password}
	}
}

// key gives the step the key of an account with these roles.
func key(name string, roles ...string) func(*place) map[string]string {
	return func(p *place) map[string]string {
		return map[string]string{"credentials_json": account(p.Test, name, roles...)}
	}
}

// taken puts another image under the tag, and lets no tag change any more.
func taken(tag string) func(*place) map[string]string {
	return func(p *place) map[string]string {
		if _, err := p.Cloud.Registry.Push(p.Context(), p.image(tag), nil); err != nil {
			p.Fatal(err)
		}
		p.Cloud.Registry.SetImmutable(strings.TrimPrefix(p.host, localcloud.Registry+"/"))
		return nil
	}
}

// answers has the registry answer the step's requests of a kind with a refusal.
func answers(f proxy.Fault) func(*place) map[string]string {
	return func(p *place) map[string]string {
		f.Client = p.Client
		p.Cleanup(p.Cloud.Proxy.Faults.Add(f))
		return nil
	}
}

// short is a folder whose name is short enough for a socket.
func short(p *place) string {
	p.Helper()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// nothing publishes nothing, and deploys what a registry has.
func nothing(p *place) map[string]string { return map[string]string{"push": ""} }

// harborQuota is what Harbor says (src/server/middleware/quota).
const harborQuota = `{"errors":[{"code":"DENIED","message":"adding 336.1 KiB of storage resource, which when updated to current usage of 9.9 GiB will exceed the configured upper limit of 10.0 GiB."}]}`

var refusals = []refusal{
	{name: "tag of the commit is there with another digest", code: 1, arrange: taken(commit)},
	{name: "latest is there with another digest, and immutable", code: 1, published: true, arrange: taken("latest")},
	{name: "too many requests", code: 1, arrange: answers(proxy.Fault{
		Host: localcloud.Registry, Method: http.MethodPost, Status: http.StatusTooManyRequests, RetryAfter: 60, Body: registry.QuotaBody(localcloud.ProjectNumber),
	})},
	{name: "Harbor is full", code: 1, host: localcloud.Harbor + "/team", arrange: func(p *place) map[string]string {
		answers(proxy.Fault{Host: localcloud.Harbor, Method: http.MethodPut, Path: "/manifests/", Status: http.StatusPreconditionFailed, Body: harborQuota})(p)
		return login(localcloud.RegistryUser, localcloud.RegistryPassword)(p)
	}},
	{name: "account may not upload", code: 1, arrange: key("may-not-upload", google.RoleDeveloper, google.RoleReader)},
	{name: "account may neither upload nor read", code: 1, arrange: key("may-not-read-either", google.RoleDeveloper)},
	{name: "key of another account may not upload", code: 1, arrange: func(p *place) map[string]string {
		return login("_json_key", account(p.Test, "key-without-upload", google.RoleReader))(p)
	}},
	{name: "another project", code: 1, host: localcloud.Registry + "/another-project/models"},
	{name: "only a user", code: 2, arrange: login("octocat", "")},

	{name: "socket missing", code: 1, arrange: path("docker"), step: func(p *place, s *runner.Step) {
		s.Env["DOCKER_HOST"] = "unix://" + filepath.Join(short(p), "docker.sock")
	}},
	{name: "folder that docker run makes where there is no socket", code: 1, arrange: path("docker"), step: func(p *place, s *runner.Step) {
		s.Env["DOCKER_HOST"] = "unix://" + short(p)
	}},

	{name: "archive that does not exist", code: 2, arrange: path("model.tgz")},
	{name: "archive outside by ..", code: 2, arrange: path("../model.tar")},
	{name: "archive outside by an absolute path", code: 2, arrange: path("/tmp/model.tar")},
	{name: "archive outside by a symbolic link", code: 2, arrange: func(p *place) map[string]string {
		outside := filepath.Join(p.TempDir(), "model.tar")
		write(p.T, outside, tarOf(p.T, saved(p.T, model(p.T, "outside", sizes), p.image(commit))))
		if err := os.Symlink(outside, filepath.Join(p.Workspace, "link.tar")); err != nil {
			p.Fatal(err)
		}
		return path("link.tar")(p)
	}},
	{name: "archive that is truncated", code: 1, arrange: content("half.tar", func(p *place) []byte {
		whole := tarOf(p.T, saved(p.T, model(p.T, "half", sizes), p.image(commit)))
		return whole[:len(whole)/2]
	})},
	{name: "archive that is truncated, gzipped", code: 1, arrange: content("half.tar.gz", func(p *place) []byte {
		whole := zipped(p.T, tarOf(p.T, saved(p.T, model(p.T, "half", sizes), p.image(commit))))
		return whole[:len(whole)/2]
	})},
	{name: "layer that is damaged", code: 1, arrange: content("damaged.tar", func(p *place) []byte {
		files := saved(p.T, model(p.T, "damaged", sizes), p.image(commit))
		layer := files[len(files)-2].content
		layer[len(layer)/2] ^= 1
		return tarOf(p.T, files)
	})},
	{name: "layout with a layer missing", code: 1, arrange: func(p *place) map[string]string {
		image := model(p.T, "incomplete", sizes)
		dir := filepath.Join(p.Workspace, "layout")
		layoutOf(p.T, dir, image, p.image(commit), commit)
		layers, err := image.Layers()
		if err != nil {
			p.Fatal(err)
		}
		digest, err := layers[0].Digest()
		if err == nil {
			err = os.Remove(filepath.Join(dir, "blobs", digest.Algorithm, digest.Hex))
		}
		if err != nil {
			p.Fatal(err)
		}
		return path("layout")(p)
	}},
	{name: "archive of something else", code: 1, arrange: content("dataset.tar", func(p *place) []byte {
		return tarOf(p.T, []file{{"data/train.csv", []byte("x,y\n1,2\n")}})
	})},
	{name: "text", code: 1, arrange: content("model.txt", func(*place) []byte { return []byte(strings.Repeat("not an image\n", 100)) })},
	{name: "folder of something else", code: 1, arrange: path("kubernetes")},
	{name: "archive with other images", code: 1, arrange: content("others.tar", func(p *place) []byte {
		one := saved(p.T, model(p.T, "one", sizes), "celestial_bodies_classifier:q4vzkxw7dk6mmlg6")
		two := saved(p.T, model(p.T, "two", sizes), "python:3.13")
		both := strings.TrimSuffix(string(one[len(one)-1].content), "]") + "," + strings.TrimPrefix(string(two[len(two)-1].content), "[")
		return tarOf(p.T, append(append(one[:len(one)-1], two[:len(two)-1]...), file{"manifest.json", []byte(both)}))
	})},

	{name: "image for arm64 only", code: 1, published: true, arrange: content("arm64.tar", func(p *place) []byte {
		return tarOf(p.T, saved(p.T, model(p.T, "arm64", sizes, "arm64"), p.image(commit)))
	})},
	{name: "index for arm64 and s390x", code: 1, published: true, arrange: func(p *place) map[string]string {
		layoutOf(p.T, filepath.Join(p.Workspace, "layout"), index(p.T, "none of ours", "arm64", "s390x"), p.image(commit), commit)
		return path("layout")(p)
	}},

	{name: "GHCR, no login", code: 1, host: localcloud.GHCR + "/octocat"},
	{name: "GHCR, no login, and nothing to publish", code: 1, host: localcloud.GHCR + "/octocat", arrange: nothing},
	{name: "GHCR, only docker/login-action's login", code: 1, host: localcloud.GHCR + "/octocat", step: func(p *place, s *runner.Step) {
		// What it leaves, where it leaves it on the host.
		home := p.TempDir()
		right := base64.StdEncoding.EncodeToString([]byte(localcloud.RegistryUser + ":" + localcloud.RegistryPassword))
		write(p.T, filepath.Join(home, "config.json"), fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, localcloud.GHCR, right))
		s.Env["DOCKER_CONFIG"] = home
	}},
	{name: "GHCR, wrong password", code: 1, host: localcloud.GHCR + "/octocat", arrange: login(localcloud.RegistryUser, "wrong-password")},
	{name: "Harbor, no login", code: 1, host: localcloud.Harbor + "/team"},
	{name: "Harbor, wrong password", code: 1, host: localcloud.Harbor + "/team", arrange: login("robot$team+deploy", "wrong-password")},
	{name: "registry with a password file, no login", code: 1, host: localcloud.PlainRegistry + "/team"},
	{name: "registry with a password file, wrong password", code: 1, host: localcloud.PlainRegistry + "/team", arrange: login(localcloud.RegistryUser, "wrong-password")},
	{name: "what is public may not be written by anybody", code: 1, host: localcloud.GHCR + "/public"},
}
