// go-git as a Git client: verbs on standard input, answers on standard output. See tests/clients/README.md.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"github.com/go-git/go-git/v5/storage/memory"
)

// go-git has no function for it.
var errCannot = errors.New("cannot")

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		text, err := answer(strings.Split(lines.Text(), "\t"))
		kind := "ok"
		switch {
		case errors.Is(err, errCannot):
			kind = "cannot"
		case err != nil:
			kind, text = "no", err.Error()
		}
		fmt.Println(kind + "\t" + strings.ReplaceAll(text, "\n", " "))
	}
}

func answer(words []string) (string, error) {
	switch words[0] {
	case "init":
		return initialize(words[1], words[2])
	case "clone":
		return clone(words[1], words[2], words[3], words[4])
	case "fetch":
		return fetch(words[1], words[2])
	case "commit":
		return commit(words[1], words[2])
	case "tag":
		return tag(words[1], words[2])
	case "push":
		return push(words[1], words[2:])
	case "refs":
		return refs(words[1])
	default:
		return "", errCannot
	}
}

func auth() (transport.AuthMethod, error) {
	key := os.Getenv("CLIENT_KEY")
	if key == "" {
		return &http.BasicAuth{Username: os.Getenv("CLIENT_USER"), Password: os.Getenv("CLIENT_PASSWORD")}, nil
	}
	keys, err := ssh.NewPublicKeysFromFile("git", key, "")
	if err != nil {
		return nil, err
	}
	keys.HostKeyCallback, err = ssh.NewKnownHostsCallback(os.Getenv("CLIENT_KNOWN_HOSTS"))
	return keys, err
}

func who() *object.Signature {
	return &object.Signature{Name: "Test User", Email: "test@example.com", When: time.Now()}
}

func initialize(url, folder string) (string, error) {
	repository, err := git.PlainInit(folder, false)
	if err != nil {
		return "", err
	}
	_, err = repository.CreateRemote(&config.RemoteConfig{Name: "origin", URLs: []string{url}})
	return "", err
}

func clone(url, folder, depth, filter string) (string, error) {
	if filter != "" {
		return "", errCannot
	}
	auth, err := auth()
	if err != nil {
		return "", err
	}
	number, err := strconv.Atoi(depth)
	if err != nil {
		return "", err
	}
	repository, err := git.PlainClone(folder, false, &git.CloneOptions{URL: url, Auth: auth, Depth: number, Tags: git.AllTags})
	if err != nil {
		return "", err
	}
	head, err := repository.Head()
	if err != nil {
		return "", err
	}
	return head.Hash().String(), nil
}

func fetch(folder, depth string) (string, error) {
	repository, err := git.PlainOpen(folder)
	if err != nil {
		return "", err
	}
	auth, err := auth()
	if err != nil {
		return "", err
	}
	number, err := strconv.Atoi(depth)
	if err != nil {
		return "", err
	}
	err = repository.Fetch(&git.FetchOptions{Auth: auth, Depth: number, Tags: git.AllTags})
	if errors.Is(err, git.NoErrAlreadyUpToDate) {
		return err.Error(), nil
	}
	return "", err
}

func commit(folder, message string) (string, error) {
	repository, err := git.PlainOpen(folder)
	if err != nil {
		return "", err
	}
	tree, err := repository.Worktree()
	if err != nil {
		return "", err
	}
	if err := tree.AddWithOptions(&git.AddOptions{All: true}); err != nil {
		return "", err
	}
	id, err := tree.Commit(message, &git.CommitOptions{Author: who()})
	return id.String(), err
}

func tag(folder, name string) (string, error) {
	repository, err := git.PlainOpen(folder)
	if err != nil {
		return "", err
	}
	head, err := repository.Head()
	if err != nil {
		return "", err
	}
	made, err := repository.CreateTag(name, head.Hash(), &git.CreateTagOptions{Tagger: who(), Message: "Release " + name})
	if err != nil {
		return "", err
	}
	return made.Hash().String(), nil
}

func push(folder string, specs []string) (string, error) {
	repository, err := git.PlainOpen(folder)
	if err != nil {
		return "", err
	}
	auth, err := auth()
	if err != nil {
		return "", err
	}
	head, err := repository.Head()
	if err != nil {
		return "", err
	}
	options := git.PushOptions{Auth: auth}
	for _, spec := range specs {
		// go-git resolves no HEAD in a refspec.
		if rest, found := strings.CutPrefix(spec, "HEAD:"); found {
			spec = head.Name().String() + ":" + rest
		}
		options.RefSpecs = append(options.RefSpecs, config.RefSpec(spec))
	}
	return "", repository.Push(&options)
}

func refs(url string) (string, error) {
	auth, err := auth()
	if err != nil {
		return "", err
	}
	remote := git.NewRemote(memory.NewStorage(), &config.RemoteConfig{Name: "origin", URLs: []string{url}})
	found, err := remote.List(&git.ListOptions{Auth: auth, PeelingOption: git.IgnorePeeled})
	if err != nil {
		return "", err
	}
	var lines []string
	for _, reference := range found {
		lines = append(lines, reference.Hash().String()+" "+reference.Name().String())
	}
	return strings.Join(lines, " "), nil
}
