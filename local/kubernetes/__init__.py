"""A Kubernetes API in this process, for the chain, kubectl and the official client. It runs no workloads.

Namespaces, Secrets, ConfigMaps, ServiceAccounts, RBAC and access reviews behave as in kube-apiserver; the suite in
`tests/contract/kubernetes` says in what, and can be pointed at a real one. Left out: controllers, admission
plug-ins beside the missing namespace, server-side apply, custom resources, protobuf answers.
"""
