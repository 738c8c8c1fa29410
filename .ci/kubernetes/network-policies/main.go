// Enforces the cluster's NetworkPolicies on one node, as a process of the machine. It runs the controller of
// kube-network-policies with a kubeconfig, because the project's own program must run inside a pod.
package main

import (
	"context"
	"flag"
	"log"
	"os/signal"
	"syscall"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/kube-network-policies/pkg/networkpolicy"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server")
	node := flag.String("node", "", "the node whose pods are guarded")
	flag.Parse()
	if err := enforce(*kubeconfig, *node); err != nil {
		log.Fatal(err)
	}
}

func enforce(kubeconfig, node string) error {
	asked, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	access, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(access)
	if err != nil {
		return err
	}
	watched := informers.NewSharedInformerFactory(client, 0)
	controller, err := networkpolicy.NewController(
		client,
		watched.Networking().V1().NetworkPolicies(),
		watched.Core().V1().Namespaces(),
		watched.Core().V1().Pods(),
		nil, nil, nil, nil,
		// The runtime's plugin interface is off in containerd 1; without it, the API server is the source of pod addresses.
		// Traffic to the machine itself (DNS, the API server) isn't filtered, so DNS needs no exception.
		networkpolicy.Config{NodeName: node, NRIdisabled: true, NetfilterBug1766Fix: false},
	)
	if err != nil {
		return err
	}
	watched.Start(asked.Done())
	return controller.Run(asked)
}
