# A node of kind for machines that cannot pull kindest/node: our node with what kind and kubeadm look for in one. The
# end-to-end test makes it. The context has kubelet, kubeadm and kubectl, the control plane's images as archives, and the
# files of k8s/node/kind.
ARG NODE_IMAGE=todo-chatbot.local/node
FROM ${NODE_IMAGE}
LABEL org.opencontainers.image.title="todo-chatbot node for kind" \
      todo-chatbot.image="kind"
COPY --chmod=755 kubelet kubeadm kubectl /usr/bin/
COPY images/ /kind/images/
COPY kind/default-storage.yaml /kind/manifests/
COPY kind/bridge.conflist /etc/cni/net.d/10-bridge.conflist
COPY kind/*.service /etc/systemd/system/
COPY --chmod=755 kind/make-kubelet-cgroups kind/import-images /kind/bin/
ARG KUBERNETES
# Kubeadm has kubelet ask systemd for the groups of pods, so containerd must do the same.
RUN echo "v${KUBERNETES}" > /kind/version \
 && sed -i 's/SystemdCgroup = false/SystemdCgroup = true/' /etc/containerd/config.toml \
 && systemctl disable ssh.service \
 && systemctl enable containerd.service import-images.service kubelet.service
