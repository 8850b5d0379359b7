#!/bin/sh
# Plays docker, minikube, helm, kubectl and whatever else it is linked as. What the real ones would remember lies in the
# folder STANDIN: the images of host and node, the cluster, the namespace, the Secret, the release. Each call becomes one
# line of STANDIN/calls, which is what the tests compare.
PATH=/usr/bin:/bin
LC_ALL=C
tool=${0##*/}
call="$tool $*"

# A call that reads stdin is noted once it has read all of it, so that `save | import` always stands in this order.
input=
case $call in *"--filename -"* | *" import -") input=$(cat) ;; esac

line=$tool
for word; do
    case $word in
    *\'*) echo "the stand-in cannot quote: $word" >&2; exit 99 ;;
    '' | *[!A-Za-z0-9_./:=,@%+-]*) line="$line '$word'" ;;
    *) line="$line $word" ;;
    esac
    last=$word
done
printf '%s\n' "$line" >>"$STANDIN/calls"
printf '%s\n' "$tool $KUBECONFIG $MINIKUBE_HOME" >>"$STANDIN/environments"

cd "$STANDIN" || exit 99
# A test's own answers come first.
. ./rules

case $call in
"docker build --help") echo "--secret" ;;
"docker build "*)
    while [ "$1" != --tag ]; do shift; done
    echo "$2 sha256:host-${2##*-h}" >>host-images ;;
"docker --version") echo "Docker version 27.0.0, build 0000000" ;;
"docker context show") echo default ;;
"docker info "*) echo "27.0.0|runc|2|/" ;;
"docker manifest inspect "*) ;;
"docker image ls "*) cat host-images ;;
"docker image inspect "*) echo 1000000 ;;
"docker container inspect "*) [ -e cluster ] && echo running ;;
"docker ps "*) cat cluster ;;
"docker save "*) echo "$2" ;;
"docker exec --interactive "*) grep -F "$input " host-images >>node-images ;;
"docker exec "*" crictl images "*)
    images=$(sed 's|\(.*\) \(.*\)|{"id":"\2","repoTags":["docker.io/library/\1"]}|' node-images | paste -sd, -)
    echo "{\"images\":[$images]}" ;;
"docker exec "*" images list") echo "REF TYPE DIGEST SIZE PLATFORMS LABELS" ;;

"minikube start --help") echo "--base-image --ports --cni --preload --container-runtime" ;;
"minikube version "*) echo v1.36.0 ;;
"minikube start --profile "*)
    mkdir -p "$MINIKUBE_HOME/profiles/$3"
    echo "{}" >"$MINIKUBE_HOME/profiles/$3/config.json"
    echo "$3" >cluster ;;
"minikube delete --profile "*) rm -rf cluster "$MINIKUBE_HOME/profiles/$3" ;;

# The last argument of both is the file with the values that the tool has written: it stands for the manifest.
"helm upgrade --help") echo "--install --timeout --values --history-max" ;;
"helm version "*) echo v3.17.0+g0000000 ;;
"helm template "*) echo "---"; cat "$last" ;;
"helm upgrade "*) { echo "---"; cat "$last"; } >release; echo 1 >replicas; echo >>revisions ;;
"helm get manifest "*) cat release ;;
"helm history "*)
    [ -e release ] || { echo "Error: release: not found" >&2; exit 1; }
    echo "[{\"revision\":$(($(wc -l <revisions))),\"status\":\"deployed\"}]" ;;
"helm uninstall "*) rm -f release ;;

"kubectl create configmap check "*) echo configmap/check ;;
"kubectl version "*) echo '{"clientVersion":{"gitVersion":"v1.33.1"}}' ;;
"kubectl get nodes,storageclasses "*)
    [ -e cluster ] || exit 1
    node='{"kind":"Node","metadata":{"name":"todo"},"status":{"conditions":[{"type":"Ready","status":"True"}]}}'
    class='{"kind":"StorageClass","metadata":{"annotations":{"storageclass.kubernetes.io/is-default-class":"true"}}}'
    echo "{\"items\":[$node,$class]}" ;;
"kubectl get namespace/"*) [ ! -e namespace ] || echo '{"kind":"Namespace","metadata":{"name":"todo","labels":{"app.kubernetes.io/managed-by":"todo-chatbot-xtask"}}}' ;;
"kubectl get secret "*) [ ! -e secret ] || echo "7 PASSWORD TOKEN URL" ;;
"kubectl get persistentvolumeclaims "*) echo '{"items":[]}' ;;
"kubectl get services "*)
    [ -e release ] || { echo '{"items":[]}'; exit; }
    service() {
        echo "{\"metadata\":{\"namespace\":\"todo\",\"name\":\"todo-$1\",\"labels\":{\"app.kubernetes.io/name\":\"$1\"}},\"spec\":{\"ports\":[{$2}]}}"
    }
    echo "{\"items\":[$(service backend '"port":8000'),$(service frontend "\"port\":80,\"nodePort\":$(cat node-port)")]}" ;;
"kubectl get pods "*) echo '{"items":[]}' ;;
"kubectl create --dry-run=client "*) echo '{"kind":"Deployment","metadata":{"name":"backend"},"spec":{"replicas":1}}' ;;
"kubectl get --filename - "*)
    [ -e release ] || exit 0
    n=$(cat replicas)
    status="{\"observedGeneration\":1,\"updatedReplicas\":$n,\"replicas\":$n,\"availableReplicas\":$n}"
    echo "{\"kind\":\"Deployment\",\"metadata\":{\"name\":\"backend\",\"generation\":1},\"spec\":{\"replicas\":$n},\"status\":$status}" ;;
"kubectl create --filename - "*)
    printf '%s\n' "$input" >>created
    case $input in
    *'"kind":"Namespace"'*) : >namespace ;;
    *'"kind":"Secret"'*) : >secret ;;
    esac ;;
"kubectl delete namespace/"*) rm -f namespace secret ;;
"kubectl logs "*) echo "a log line" ;;
"kubectl port-forward "*)
    echo "Forwarding from 127.0.0.1:$(cat forwarded-port) -> 8000"
    exec sleep 60 ;;
*) echo "the stand-in has no answer to: $call" >&2; exit 99 ;;
esac
