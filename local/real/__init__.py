"""The real parts: kube-apiserver with etcd, and Argo CD, as processes on loopback, where this machine can have them.

Nothing else needs this package; `make test-real`, `--kube real` and `--argocd real` do.
"""
