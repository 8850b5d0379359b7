# The images of minikube's addons for machines that cannot pull them, each a target named as the addon is: one static
# binary, as built from its Go module. The context is the folder of that binary.
FROM scratch AS metrics-server
LABEL todo-chatbot.image="addon"
COPY --chmod=755 metrics-server /
USER 65534
ENTRYPOINT ["/metrics-server"]
