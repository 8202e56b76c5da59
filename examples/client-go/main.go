// A client of the guest's agent in Go, made of nothing but the published .proto files and containerd's
// ttrpc package. It takes a container through its whole life and tells what it sees.
//
//	client-go SOCKET [-image NAME | -rootfs DIRECTORY] [-all-devices]
//
// SOCKET is hostd's NAME.agent.sock, or an agent's own. Exit: 0, 1 (a call failed), 2 (usage).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/containerd/ttrpc"

	agent "sluice.dev/agent/v1"
)

// How many bytes each side may send before it is granted more, and in one message (docs/rpc.md).
const (
	firstCredit = 262144
	messageSize = 65536
)

func main() {
	flags := flag.NewFlagSet("client-go", flag.ExitOnError)
	image := flags.String("image", "", "an image of the guest's store")
	rootfs := flags.String("rootfs", "", "a directory of the guest")
	allDevices := flags.Bool("all-devices", false, "no rule about devices, which some kernels refuse")
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: client-go SOCKET [-image NAME | -rootfs DIRECTORY] [-all-devices]")
		os.Exit(2)
	}
	_ = flags.Parse(os.Args[2:])
	request := &agent.CreateContainerRequest{Image: *image, Rootfs: *rootfs, AllDevices: *allDevices}
	if err := run(os.Args[1], request); err != nil {
		fmt.Fprintln(os.Stderr, "client-go:", err)
		os.Exit(1)
	}
}

func run(socket string, request *agent.CreateContainerRequest) error {
	connection, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	client := ttrpc.NewClient(connection)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	pong, err := agent.NewAgentClient(client).Ping(ctx, &agent.PingRequest{})
	if err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	fmt.Println("agent", pong.Version)
	if err := inTheVM(ctx, agent.NewProcessClient(client)); err != nil {
		return fmt.Errorf("process: %w", err)
	}
	if request.Image == "" && request.Rootfs == "" {
		return nil
	}
	return life(ctx, agent.NewContainerClient(client), request)
}

// A program in the VM itself: what is written to its input comes back.
func inTheVM(ctx context.Context, process agent.ProcessClient) error {
	stream, err := process.Exec(ctx)
	if err != nil {
		return err
	}
	output, exit, err := converse(stream, &agent.ExecStart{Args: []string{"cat"}}, []byte("hello from Go\n"))
	if err != nil {
		return err
	}
	fmt.Printf("cat said %q and ended with %d\n", output, exit.Code)
	return nil
}

type execStream interface {
	Send(*agent.ExecRequest) error
	Recv() (*agent.ExecResponse, error)
}

// Runs a program with an input, which may not be longer than the first credit; returns all that it writes.
func converse(stream execStream, start *agent.ExecStart, input []byte) ([]byte, *agent.ExitStatus, error) {
	if len(input) > firstCredit {
		return nil, nil, errors.New("an input that long has to wait for credit")
	}
	requests := []*agent.ExecRequest{{Message: &agent.ExecRequest_Start{Start: start}}}
	for len(input) > 0 {
		size := len(input)
		if size > messageSize {
			size = messageSize
		}
		requests = append(requests, &agent.ExecRequest{Message: &agent.ExecRequest_Stdin{Stdin: input[:size]}})
		input = input[size:]
	}
	requests = append(requests, &agent.ExecRequest{Message: &agent.ExecRequest_StdinClosed{StdinClosed: true}})
	for _, request := range requests {
		if err := stream.Send(request); err != nil {
			return nil, nil, err
		}
	}
	var output []byte
	for {
		response, err := stream.Recv()
		if err != nil {
			return output, nil, err
		}
		switch message := response.Message.(type) {
		case *agent.ExecResponse_Stdout:
			output = append(output, message.Stdout...)
			grant := &agent.ExecRequest_Grant{Grant: uint32(len(message.Stdout))}
			if err := stream.Send(&agent.ExecRequest{Message: grant}); err != nil {
				return output, nil, err
			}
		case *agent.ExecResponse_Exit:
			return output, message.Exit, nil
		}
	}
}

// Create, start, logs, exec, stats, pause, resume, stop, wait, remove.
func life(ctx context.Context, containers agent.ContainerClient, request *agent.CreateContainerRequest) error {
	request.Name = "client-go"
	request.Network = "none"
	request.NoEntrypoint = true
	request.Args = []string{"sh", "-c",
		"echo started; trap 'echo stopping; exit 42' TERM; while :; do sleep 0.05; done"}
	created, err := containers.Create(ctx, request)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	id := created.Id
	fmt.Println("created", created.Name)
	defer func() { _, _ = containers.Remove(ctx, &agent.RemoveContainerRequest{Container: id, Force: true}) }()

	if _, err := containers.Start(ctx, &agent.StartContainerRequest{Container: id}); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	fmt.Println("started")

	logs, err := follow(ctx, containers, id)
	if err != nil {
		return fmt.Errorf("logs: %w", err)
	}
	if line, ok := <-logs.lines; !ok || line != "started\n" {
		return fmt.Errorf("logs: %q instead of the first line: %w", line, logs.err)
	}

	stream, err := containers.Exec(ctx)
	if err != nil {
		return fmt.Errorf("exec: %w", err)
	}
	output, exit, err := converse(stream, &agent.ExecStart{Container: id, Args: []string{"wc", "-c"}}, make([]byte, 100000))
	if err != nil {
		return fmt.Errorf("exec: %w", err)
	}
	fmt.Printf("exec: wc counted %q and ended with %d\n", output, exit.Code)

	if _, err := containers.Stats(ctx, &agent.ContainerStatsRequest{Container: id}); err != nil {
		return fmt.Errorf("stats: %w", err)
	}
	stopped, err := containers.Stop(ctx, &agent.StopContainerRequest{Container: id})
	if err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	fmt.Println("stopped with", stopped.Exit.Code)
	waited, err := containers.Wait(ctx, &agent.WaitContainerRequest{Container: id})
	if err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	fmt.Println("waited for", waited.Exit.Code)
	for line := range logs.lines {
		fmt.Printf("log: %q\n", line)
	}
	if logs.err != nil {
		return fmt.Errorf("logs: %w", logs.err)
	}
	if _, err := containers.Remove(ctx, &agent.RemoveContainerRequest{Container: id}); err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	fmt.Println("removed")
	_, err = containers.Inspect(ctx, &agent.InspectContainerRequest{Container: created.Name})
	fmt.Println("now:", err)
	return nil
}

type followed struct {
	lines chan string
	err   error // once lines is closed
}

// What a container writes, until it has stopped.
func follow(ctx context.Context, containers agent.ContainerClient, id string) (*followed, error) {
	stream, err := containers.Logs(ctx)
	if err != nil {
		return nil, err
	}
	start := &agent.LogsRequest_Start{Start: &agent.LogsStart{Container: id, Follow: true}}
	if err := stream.Send(&agent.LogsRequest{Message: start}); err != nil {
		return nil, err
	}
	logs := &followed{lines: make(chan string, 16)}
	go func() {
		defer close(logs.lines)
		for {
			response, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				logs.err = err
				return
			}
			switch message := response.Message.(type) {
			case *agent.LogsResponse_Record:
				data := message.Record.Data
				logs.lines <- string(data)
				grant := &agent.LogsRequest_Grant{Grant: uint32(len(data))}
				_ = stream.Send(&agent.LogsRequest{Message: grant})
			case *agent.LogsResponse_End:
				return
			}
		}
	}()
	return logs, nil
}
