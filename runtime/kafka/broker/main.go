// The embedded broker: kfake of franz-go, on a loopback port, with its records and offsets on disk.
//
// It stops cleanly on SIGTERM, and when the process that started it has ended.
package main

import (
	"flag"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// For a topic that says nothing else. A partition keeps at most its retention and one segment on disk.
var defaults = map[string]string{
	"log.segment.bytes":          "8388608",
	"log.retention.bytes":        "67108864",
	"default.replication.factor": "1",
}

const (
	retentionEvery  = time.Minute
	lookEvery       = time.Second // at the process that started it
	shortestSession = time.Second // Kafka's own 6 s would keep a killed member's partitions as long
)

func main() {
	port := flag.Int("port", 0, "loopback port to listen on")
	data := flag.String("data", "", "directory of topics, records and offsets")
	sync := flag.Bool("sync", false, "sync each write to disk: a power cut loses nothing, and all is slower")
	flag.Parse()
	if *port == 0 || *data == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	// All requests pass through one loop of kfake's: more threads only hand them around.
	runtime.GOMAXPROCS(1)

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	parent := os.Getppid()
	held, err := lock(*data)
	if err != nil {
		log.Fatalf("another broker, or nobody, can use %s: %v", *data, err)
	}
	defer held.Close()
	broker, err := kfake.NewCluster(options(*port, *data, *sync)...)
	if err != nil {
		log.Fatalf("no broker on port %d with the data in %s: %v", *port, *data, err)
	}
	defer broker.Close()
	retention, look := time.Tick(retentionEvery), time.Tick(lookEvery)
	for os.Getppid() == parent {
		select {
		case <-retention:
			broker.ApplyRetention()
		case <-look:
		case <-stop:
			return
		}
	}
}

// lock holds the directory for as long as the file it returns is open: two brokers would spoil it.
func lock(data string) (*os.File, error) {
	if err := os.MkdirAll(data, 0o755); err != nil {
		return nil, err
	}
	file, err := os.Create(filepath.Join(data, "lock"))
	if err != nil {
		return nil, err
	}
	return file, syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

func options(port int, data string, sync bool) []kfake.Opt {
	options := []kfake.Opt{
		kfake.Ports(port), // of loopback: kfake listens on nothing else
		kfake.DataDir(data),
		kfake.BrokerConfigs(defaults),
		kfake.GroupMinSessionTimeout(shortestSession),
		kfake.WithLogger(kfake.BasicLogger(os.Stderr, kfake.LogLevelWarn)),
	}
	if sync {
		options = append(options, kfake.SyncWrites())
	}
	return options
}
