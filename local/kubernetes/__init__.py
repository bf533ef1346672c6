"""A Kubernetes API in this process: what the chain, kubectl and the official client ask of a cluster, and no workloads.

Namespaces, Secrets, ConfigMaps, ServiceAccounts, RBAC and access reviews behave as in kube-apiserver; the suite in
`tests/contract/kubernetes` says in what, and can be pointed at a real one. Left out: controllers, admission
plug-ins beside the missing namespace, server-side apply, custom resources, protobuf answers.
"""
