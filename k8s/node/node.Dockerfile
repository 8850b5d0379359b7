# The minikube node for machines that cannot pull kicbase: Debian with systemd, sshd, a container runtime and what kubelet
# calls. Each target is named as the runtime is.
ARG BASE_IMAGE=debian:bookworm-slim
FROM ${BASE_IMAGE} AS containerd
LABEL org.opencontainers.image.title="todo-chatbot minikube node" \
      todo-chatbot.image="node"
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# systemd's own targets are emptied: a node starts sshd, containerd and kubelet, and nothing that a laptop would.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      systemd=252.* systemd-sysv=252.* dbus=1.14.* openssh-server=1:9.* sudo=1.9.* containerd=1.6.* runc=1.1.* \
      iptables=1.8.* conntrack=1:1.4.* iproute2=6.1.* ethtool=1:6.* socat=1.7.* ebtables=2.0.* kmod=30* \
      util-linux=2.38.* mount=2.38.* procps=2:4.* curl=7.88.* ca-certificates=20* lz4=1.9.* rsync=3.* \
      iputils-ping=3:* containernetworking-plugins=1.1.* jq=1.6* \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
 && rm -f /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/* \
      /lib/systemd/system/local-fs.target.wants/* /lib/systemd/system/sockets.target.wants/*udev* \
      /lib/systemd/system/sockets.target.wants/*initctl* /lib/systemd/system/basic.target.wants/* \
 && mkdir -p /opt/cni/bin /etc/kubernetes/manifests /run/sshd /kind /etc/containerd/certs.d \
 && cp /usr/lib/cni/* /opt/cni/bin/ \
 && systemctl enable ssh.service \
 && systemctl disable containerd \
 && update-alternatives --set iptables /usr/sbin/iptables-nft \
 && update-alternatives --set ip6tables /usr/sbin/ip6tables-nft
# minikube logs in as "docker": sshd refuses a locked password without PAM, and kubeadm's preflight wants sbin on PATH.
RUN sed -ri 's/^#?UsePAM yes/UsePAM no/' /etc/ssh/sshd_config \
 && echo 'SetEnv PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' >> /etc/ssh/sshd_config \
 && groupadd docker \
 && useradd -l -m -s /bin/bash -g docker -G sudo -p '*' docker \
 && echo '%sudo ALL=(ALL) NOPASSWD:ALL' >> /etc/sudoers \
 && install -d -o docker -g docker -m 700 /home/docker/.ssh \
 && echo 'ReadKMsg=no' >> /etc/systemd/journald.conf \
 && echo 'runtime-endpoint: unix:///run/containerd/containerd.sock' > /etc/crictl.yaml
COPY containerd.toml /etc/containerd/config.toml
COPY --chmod=755 crictl /usr/local/bin/crictl
COPY --chmod=755 entrypoint /usr/local/bin/entrypoint
# The shim is copied under the name that containerd calls, and only where the machine needs it.
COPY --chmod=755 shim/ /usr/local/sbin/
ENV container=docker
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]

# Docker runs containers by a containerd of its own, and kubelet speaks to it by way of cri-dockerd. Minikube looks for dockerd where
# docker's own packages have it, and starts all of them itself.
FROM containerd AS docker
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends docker.io=20.10.* \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
 && ln -s /usr/sbin/dockerd /usr/bin/dockerd \
 && systemctl disable docker.service docker.socket containerd
COPY --chmod=755 cri-dockerd /usr/bin/
COPY cri-docker.service cri-docker.socket /lib/systemd/system/
