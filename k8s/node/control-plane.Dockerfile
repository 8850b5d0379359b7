# The images that kubeadm and minikube want, each a target of the same name: one static binary, as built from its Go
# module. The context is the folder of those binaries.
ARG NODE_IMAGE=todo-chatbot.local/node
FROM scratch AS kube-apiserver
COPY --chmod=755 kube-apiserver /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/kube-apiserver"]

FROM scratch AS kube-controller-manager
COPY --chmod=755 kube-controller-manager /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/kube-controller-manager"]

FROM scratch AS kube-scheduler
COPY --chmod=755 kube-scheduler /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/kube-scheduler"]

FROM scratch AS etcd
COPY --chmod=755 etcd /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/etcd"]

FROM scratch AS coredns
COPY --chmod=755 coredns /
ENTRYPOINT ["/coredns"]

FROM scratch AS storage-provisioner
COPY --chmod=755 storage-provisioner /
ENTRYPOINT ["/storage-provisioner"]

FROM scratch AS pause
COPY --chmod=755 pause /
ENTRYPOINT ["/pause"]

# kube-proxy and flannel call iptables: the tools and what they link to are taken from the node image, which has them already.
FROM ${NODE_IMAGE} AS iptables
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN mkdir -p /out/usr/sbin /out/run /out/tmp \
 && cp /usr/sbin/xtables-nft-multi /usr/sbin/conntrack /out/usr/sbin/ \
 && for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do \
      ln -s xtables-nft-multi "/out/usr/sbin/$name"; done \
 && { ldd /usr/sbin/xtables-nft-multi /usr/sbin/conntrack; find /usr/lib -path '*/xtables/*.so' -exec ldd {} +; } \
      | grep -o '/[^ :]*\.so[^ :]*' | sort -u > /tmp/libraries \
 && { cat /tmp/libraries; find /usr/lib -path '*/xtables/*.so'; } | sort -u \
      | xargs -I{} cp --parents --dereference {} /out/

FROM scratch AS kube-proxy
COPY --from=iptables /out/ /
COPY --chmod=755 kube-proxy /usr/local/bin/kube-proxy
ENV PATH=/usr/local/bin:/usr/sbin
ENTRYPOINT ["/usr/local/bin/kube-proxy"]

# Its context is the folder of flannel alone: only a cluster of more than one node has it.
FROM scratch AS flannel
LABEL todo-chatbot.image="network"
COPY --from=iptables /out/ /
COPY --chmod=755 flannel /usr/local/bin/flannel
ENV PATH=/usr/local/bin:/usr/sbin
ENTRYPOINT ["/usr/local/bin/flannel"]
