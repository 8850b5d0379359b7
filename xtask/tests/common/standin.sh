#!/bin/sh
# Plays docker, minikube, helm, kubectl and whatever else it is linked as. What the real ones would remember lies in the
# folder STANDIN: the images of host and node, the cluster, and in `namespaces` what is in it. Each call becomes one line
# of STANDIN/calls, which is what the tests compare.
PATH=/usr/bin:/bin
LC_ALL=C
tool=${0##*/}
call="$tool $*"

# A call that reads stdin is noted once it has read all of it, so that `save | import` always stands in this order.
input=
case $call in
*"--filename -"* | *"--patch-file /dev/stdin"* | "kubectl exec --stdin "* | "kubectl exec "*" --stdin "*) input=$(cat) ;;
esac
# Of an archive the layers lie in a folder, and what was read is the image's name.
case $call in
*" images import -"*)
    layers=$STANDIN/incoming-$$/blobs/sha256
    mkdir "${layers%/blobs/*}"
    tar -x -C "${layers%/blobs/*}"
    input=$(cat "${layers%/blobs/*}/index.json") ;;
esac
case $tool in kube-score | kubeconform | pod-security) input=$(cat) ;; esac

newline='
'
line=$tool namespace= values= description=
for word; do
    case $word in
    *\'*) echo "the stand-in cannot quote: $word" >&2; exit 99 ;;
    '' | *[!A-Za-z0-9_./:=,@%+-]*) line="$line '$word'" ;;
    *) line="$line $word" ;;
    esac
    # Whatever an argument holds, a call is one line.
    while :; do
        case $line in
        *"$newline"*) line="${line%%"$newline"*}\\n${line#*"$newline"}" ;;
        *) break ;;
        esac
    done
    case $last in
    --namespace) namespace=$word ;;
    --values) values="$values $word" ;;
    --description) description=$word ;;
    esac
    last=$word
done
printf '%s\n' "$line" >>"$STANDIN/calls"
printf '%s\n' "$tool $KUBECONFIG $MINIKUBE_HOME" >>"$STANDIN/environments"

cd "$STANDIN" || exit 99
here=namespaces/$namespace

# A release is a folder: `revisions` with a line for each, its number and status, and a manifest of that number.
# The arguments are the release and the status of its new revision, whose manifest is on stdin.
record() {
    mkdir -p "$here/releases/$1"
    cd "$here/releases/$1" || exit 99
    touch revisions
    number=$(($(wc -l <revisions) + 1))
    cat >"$number"
    echo "$description" >"description-$number"
    [ "$2" != deployed ] || { sed 's/deployed/superseded/' revisions >old; mv old revisions; }
    echo "$number $2" >>revisions
    cd "$STANDIN" || exit 99
    bring "$1" "$here/releases/$1/$number"
}

# Puts the objects of a manifest in the place of those that the release had.
bring() {
    forget "$1"
    while read -r key value; do
        case $key in
        name:) mkdir -p "$here/workloads/$value"; workload=$here/workloads/$value; echo "$1" >"$workload/release" ;;
        values: | ports: | replicas:) echo "$value" | tr -d '"' >"$workload/${key%:}" ;;
        esac
    done <"$2"
}

# Gives the last revision of a release another status, or the one with a number.
settle() {
    revisions=$here/releases/$1/revisions
    [ "$2" != deployed ] || { sed 's/deployed/superseded/' "$revisions" >"$revisions.new"; mv "$revisions.new" "$revisions"; }
    line=${3:+/^$3 /}
    sed "${line:-\$}s/ .*/ $2/" "$revisions" >"$revisions.new"
    mv "$revisions.new" "$revisions"
}

# Goes no further for as long as `held` has a line with these words.
hold() {
    [ -s held ] || return 0
    ! grep -qx "$1" held || echo $$ >>pids
    while grep -qsx "$1" held; do sleep 0.05; done
}

kubeconfig() {
    cat >"$KUBECONFIG" <<END
clusters: [{name: $1, cluster: {certificate-authority: $MINIKUBE_HOME/ca.crt, server: "https://192.168.49.2:8443"}}]
contexts: [{name: $1, context: {cluster: $1, user: $1}}]
current-context: $1
END
}

forget() {
    for workload in $(grep -lx "$1" "$here"/workloads/*/release 2>/dev/null); do rm -r "${workload%/release}"; done
}

# A Deployment for each service that the generated values describe, which are the last file; what else went in stands in
# it as a checksum.
manifest() {
    sum=$(cat $values $(find "$1" -type f | sort) | cksum | tr -d ' ')
    # JSON as it is written, a key on each line; what matters is how deep it stands.
    awk '
        function put() { if (name != "" && !off) print name, port + 0 "/" node + 0; name = ""; off = 0; port = 0; node = 0 }
        { gsub(/[",:]/, "") }
        /^  services / { several = 1 }
        several && /^    [a-z-]+ \{/ { put(); name = $1 }
        several && /^      enabled false/ { off = 1 }
        several && /^      port / || !several && /^  port / { port = $2 }
        several && /^        nodePort / || !several && /^    nodePort / { node = $2 }
        !several && /^  name / { own = $2 }
        END { if (!several) name = own; put() }
    ' "${values##* }" | while read -r name ports; do
        printf -- '---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: %s\n' "$name"
        printf '  annotations:\n    values: "%s"\n    ports: "%s"\nspec:\n  replicas: 1\n' "$sum" "$ports"
    done
}

# A Secret is a file of lines, each a key and its value; a namespace's label is the same.
pairs() { sed "s/.*\"$1\":{\([^}]*\)}.*/\1/" | tr -d '"' | tr ',' '\n' | sed 's/:/ /'; }

live() {
    read -r n <"$here/workloads/$1/replicas"
    ready=$n condition=
    # Most tests have none of these: no child is needed to see that.
    ! { [ -s slow ] && grep -qx "$1" slow; } || ready=0
    read -r release <"$here/workloads/$1/release"
    if { [ -s broken ] && grep -qx "$1" broken; } || { [ -s failing ] && grep -qx "$1" failing && [ ! -e "$here/releases/$release/back" ]; }; then
        condition=',"conditions":[{"type":"Progressing","status":"False","message":"timed out"}]'
    fi
    read -r sum <"$here/workloads/$1/values"
    read -r ports <"$here/workloads/$1/ports"
    status="{\"observedGeneration\":1,\"updatedReplicas\":$n,\"replicas\":$n,\"availableReplicas\":$ready$condition}"
    # A GitOps controller writes on what it applies.
    tracked=$(sed "s|.*|,\"argocd.argoproj.io/tracking-id\":\"&:apps/Deployment:${here#*/}/$1\"|" applied-by 2>/dev/null)
    about="\"name\":\"$1\",\"namespace\":\"${here#*/}\",\"generation\":1,\"annotations\":{\"values\":\"$sum\",\"ports\":\"$ports\"$tracked}"
    [ ! -s applied-by-flux ] || about="$about,\"labels\":{$(sed 's|.*|"helm.toolkit.fluxcd.io/name":"&"|' applied-by-flux)}"
    echo "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{$about},\"spec\":{\"replicas\":$n},\"status\":$status}"
}

# Adds the namespace's workloads to `found`, each after a comma.
add_workloads() {
    for workload in "$here"/workloads/*; do
        [ -s "$workload/replicas" ] || continue
        one=$(live "${workload##*/}" 2>/dev/null)
        # Another release's may be coming or going at this moment.
        case $one in *:,* | *:[}]* | *:\"\"*) continue ;; esac
        found="$found,$one"
    done
}

NODES='{"kind":"Node","metadata":{"name":"todo"},"status":{"conditions":[{"type":"Ready","status":"True"}]}}
    ,{"kind":"StorageClass","metadata":{"annotations":{"storageclass.kubernetes.io/is-default-class":"true"}}}'

a_namespace() {
    labels=$(sed 's/\(.*\) \(.*\)/"\1":"\2"/' "namespaces/$1/labels" | paste -sd, -)
    phase=$(cat "namespaces/$1/phase" 2>/dev/null)
    echo "{\"kind\":\"Namespace\",\"metadata\":{\"name\":\"$1\",\"labels\":{$labels}},\"status\":{\"phase\":\"$phase\"}}"
}

# The Services of all namespaces, with a comma between them.
services() {
    found=
    for workload in namespaces/*/workloads/*; do
        [ -e "$workload/ports" ] || continue
        release= ports=
        read -r release <"$workload/release"
        read -r ports <"$workload/ports"
        # Another release's may be coming or going at this moment.
        case $release,$ports in ,* | *, | *,/* | */) continue ;; esac
        name=${workload##*/} in=${workload#namespaces/} node= kind=ClusterIP given=
        [ "${ports#*/}" = 0 ] || { node=",\"nodePort\":${ports#*/}"; kind=NodePort; }
        address=
        if [ -s load-balancers ] && grep -q "^$name" load-balancers; then
            kind=LoadBalancer
            address=$(sed -n "s/^$name //p" load-balancers)
        fi
        [ -z "$address" ] || given=",\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"$address\"}]}}"
        labels="\"app.kubernetes.io/name\":\"$name\",\"app.kubernetes.io/instance\":\"$release\""
        about="{\"namespace\":\"${in%%/*}\",\"name\":\"$release-$name\",\"labels\":{$labels}}"
        found="$found,{\"kind\":\"Service\",\"metadata\":$about,\"spec\":{\"type\":\"$kind\",\"ports\":[{\"port\":${ports%/*}$node}]}$given}"
    done
    while read -r other; do found="$found,$other"; done <services
    echo "${found#,}"
}

# What helm keeps of a revision, as its Secret shows it: release, number and status.
stored() {
    description=$(cat "$here/releases/$1/description-$2" 2>/dev/null)
    # A test may have helm keep more than it made.
    manifest=$(cat more-manifest "$here/releases/$1/$2" 2>/dev/null | sed 's/\\/\\\\/g; s/"/\\"/g; s/$/\\n/' | tr -d '\n')
    info="{\"status\":\"$3\",\"description\":\"$description\"}"
    printf '{"name":"%s","namespace":"%s","version":%s,"info":%s,"manifest":"%s"}' "$1" "${here#*/}" "$2" "$info" "$manifest" |
        gzip | base64 --wrap 0 | base64 --wrap 0
}

# By which a registry knows what was pushed.
digest() { echo "sha256:$(printf %s "$1" | sha256sum | cut -d ' ' -f 1)"; }

# A test's own answers come first.
. ./rules

case $call in
"docker build --help") echo "--secret" ;;
"docker build "*)
    mkdir -p labels
    while [ "$1" != --tag ]; do shift; done
    image=$2 id=sha256:host-${2##*-h}
    echo "$image $id" >>host-images
    for word; do case $word in todo.inputs=*) echo "${word#*=}" >"labels/$id" ;; esac; done ;;
"docker --version") echo "Docker version 27.0.0, build 0000000" ;;
"docker context show") echo default ;;
"docker info "*) echo "27.0.0|runc|2|/" ;;
"docker manifest inspect --verbose "*)
    grep -qx "$last" registry || { echo "no such manifest: $last" >&2; exit 1; }
    echo "{\"Descriptor\":{\"digest\":\"$(digest "$last")\"}}" ;;
"docker manifest inspect "*) ;;
"docker buildx version") [ -e builders ] || { echo "docker: 'buildx' is not a docker command." >&2; exit 1; } ;;
"docker buildx inspect "*)
    grep -qx "$last" builders || { echo "ERROR: no builder \"$last\" found" >&2; exit 1; } ;;
# Of what a builder pushed: the reference and its platforms.
"docker buildx imagetools inspect "*)
    there=$(sed -n "s#^$last ##p" pushed | tail -n 1)
    [ -n "$there" ] || { echo "ERROR: $last: not found" >&2; exit 1; }
    list=$(echo "$there" | sed 's#\([a-z0-9]*\)/\([a-z0-9]*\)#{"platform":{"os":"\1","architecture":"\2"}}#g')
    echo "{\"manifest\":{\"digest\":\"$(digest "$last $there")\",\"manifests\":[$list]}}" ;;
"docker buildx build "*)
    before= platforms=
    for word; do
        case $before in --tag) image=$word ;; --platform) platforms=$word ;; esac
        before=$word
    done
    echo "$image ${platforms:-linux/amd64}" >>pushed ;;
# The newest first; the service of an image is its name.
"docker image ls --no-trunc --quiet --filter "*) tac host-images | sed -n "s/^${last##*=}:[^ ]* //p" ;;
"docker image ls "*) cat host-images ;;
"docker image inspect --format {{json .RootFS.Layers}} "*) echo '[]' ;;
"docker image inspect "*inputs*) cat "labels/$last" ;;
"docker image inspect "*) echo 1000000 ;;
"docker container inspect --format {{json .NetworkSettings}} "*)
    [ -e cluster ] && echo '{"Networks":{"todo":{"IPAddress":"192.168.49.2"}},"Ports":{}}' ;;
"docker container inspect "*) [ -e cluster ] && echo running ;;
"docker ps --all --filter label="*) [ ! -e cluster ] || sed 's/$/ running/' cluster ;;
"docker ps --all "*) ;;
"docker ps "*) cat cluster ;;
"docker system df "*) ;;
"dpkg-query "*) ;;
"docker save --output "*)
    mkdir -p archive
    to=$3 tags=
    shift 3
    for image; do tags="$tags,\"$image\""; grep "^$image " host-images; done >archive/images
    echo "[{\"RepoTags\":[${tags#,}]}]" >archive/manifest.json
    tar -c -f "$to" -C archive manifest.json images ;;
"docker load "*) tar -x -O -f "$last" images >>host-images ;;
# A layer that all images have, and one that no other has.
"docker save "*)
    saved=saved-$$ own=$(echo "$2" | tr : -)
    mkdir -p "$saved/blobs/sha256"
    echo "$2" | tee "$saved/index.json" "$saved/oci-layout" >"$saved/blobs/sha256/$own"
    echo base >"$saved/blobs/sha256/base"
    tar -c -C "$saved" blobs index.json oci-layout
    rm -r "$saved" ;;
"docker exec "*" sh -c "*" /var/lib/xtask-owner "*) echo "$last" >owner ;;
"docker cp "*:/var/lib/xtask-owner" "*) [ -e cluster ] && cat owner >"$last" 2>/dev/null ;;
"docker exec "*" images import -"*)
    came=$(ls "$layers" | paste -sd ' ' -)
    for layer in base "$(echo "$input" | tr : -)"; do
        [ -e "$layers/$layer" ] || grep -qx "sha256:$layer" node-blobs || {
            echo "ctr: content digest sha256:$layer: not found" >&2
            exit 1
        }
    done
    rm -r "${layers%/blobs/*}"
    echo "$input: $came" >>received
    printf 'sha256:%s\n' $came >>node-blobs
    grep -F "$input " host-images >>node-images ;;
"docker exec "*" content ls --quiet") cat node-blobs ;;
"docker exec "*" crictl images "*)
    images=$(sed 's|\(.*\) \(.*\)|{"id":"\2","repoTags":["docker.io/library/\1"]}|' node-images | paste -sd, -)
    echo "{\"images\":[$images]}" ;;
"docker exec "*" cat /etc/machine-id "*) cat node-identity ;;
"docker exec "*" images list") echo "REF TYPE DIGEST SIZE PLATFORMS LABELS" ;;

"minikube start --help") echo "--base-image --ports --cni --preload --container-runtime" ;;
"minikube version "*) echo v1.36.0 ;;
"minikube start --profile "*)
    mkdir -p "$MINIKUBE_HOME/profiles/$3" namespaces/default
    echo "{}" >"$MINIKUBE_HOME/profiles/$3/config.json"
    kubeconfig "$3"
    touch namespaces/default/labels
    echo "$3" >cluster ;;
"minikube node add "*) echo "todo-m0$(($(wc -l <cluster) + 1))" >>cluster ;;
"minikube addons enable "*) echo "$3" >>addons ;;
"kubectl get deployments,daemonsets,apiservices "*)
    item() { echo "{\"kind\":\"DaemonSet\",\"metadata\":{\"labels\":{\"kubernetes.io/minikube-addons\":\"$1\"}}}"; }
    items=$(while read -r addon; do item "$addon"; done <addons | paste -sd, -)
    echo "{\"items\":[$items]}" ;;
"kubectl get --raw /version "*) [ ! -e cluster ] || echo '{"gitVersion":"v1.33.1"}' ;;
"kubectl get --raw /openapi/v2 "*) echo '{"definitions":{}}' ;;

# What is built becomes a stand-in too.
"go list -deps "*) echo package ;;
"go build "*)
    while [ "$1" != -o ]; do shift; done
    ln -s "$STANDIN/../bin/go" "$2${last##*/}" ;;
"kube-score "*) echo "[]" ;;
"kubeconform "*) echo '{"resources":null}' ;;
"pod-security "*) ;;
"hadolint "*) echo "[]" ;;
# What is encrypted has other letters; whoever has a key that says "good" opens it.
"age --decrypt "*)
    grep -qx good "$3" || { echo "age: no identity matched" >&2; exit 1; }
    tail -n +2 "$4" | tr a-z n-za-m ;;
"sops decrypt "*) sed '/^sops:$/,$d' "$last" | tr a-z n-za-m ;;
"helm lint "*) ;;

"minikube update-context --profile "*) kubeconfig "$3" ;;
"minikube delete --profile "*) rm -rf cluster owner namespaces secrets "$MINIKUBE_HOME/profiles/$3" ;;

"helm upgrade --help") echo "--install --timeout --values --history-max" ;;
"helm version "*) echo v3.17.0+g0000000 ;;
"helm template "*) manifest "$3" ;;
"helm package "*) tar -c -z -f "$6/$(sed -n 's/^name: //p' "$2/Chart.yaml")-$4.tgz" -C "$2/.." "$(basename "$2")" ;;
"helm show chart "*) grep -qx "$(basename "$3")-$5" charts ;;
"helm push "*) basename "$2" .tgz >>charts ;;
"helm upgrade "*)
    [ -e "$here" ] || { echo "Error: namespaces \"$namespace\" not found" >&2; exit 1; }
    pending=pending-install
    case $(tail -n 1 "$here/releases/$2/revisions" 2>/dev/null) in
    '') ;;
    *pending*)
        echo "Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress" >&2
        exit 1 ;;
    *uninstalling) echo "Error: UPGRADE FAILED: \"$2\" has no deployed releases" >&2; exit 1 ;;
    *) pending=pending-upgrade ;;
    esac
    # A signal is the end of the upgrade, and helm says so in its own revision: another may have come since.
    release=$2 mine=$(($(cat "$here/releases/$2/revisions" 2>/dev/null | wc -l) + 1))
    trap 'settle "$release" failed "$mine"; echo "Error: UPGRADE FAILED: context canceled" >&2; exit 1' INT TERM
    manifest "$3" | record "$2" "$pending"
    rm -f "$here/releases/$2/back"
    hold "upgrade $2"
    settle "$2" deployed
    cp "${values##* }" "$here/releases/$2/values" ;;
"helm get values "*) cat "$here/releases/$3/values" ;;
"helm get hooks "*) ;;
"helm get manifest "*) cat "$here/releases/$3/$(tail -n 1 "$here/releases/$3/revisions" | cut -d ' ' -f 1)" ;;
"helm history "*)
    [ -e "$here/releases/$2" ] || { echo "Error: release: not found" >&2; exit 1; }
    history=$(tail -n "$4" "$here/releases/$2/revisions" | while read -r number status; do
        description=$(cat "$here/releases/$2/description-$number" 2>/dev/null)
        echo "{\"revision\":$number,\"status\":\"$status\",\"description\":\"$description\"}"
    done | paste -sd, -)
    echo "[$history]" ;;
"helm rollback "*)
    [ -e "$here/releases/$2/$3" ] || { echo "Error: release has no $3 version" >&2; exit 1; }
    cp "$here/releases/$2/$3" "$here/releases/$2/again"
    description="Rollback to $3"
    record "$2" pending-rollback <"$here/releases/$2/again"
    touch "$here/releases/$2/back"
    # Of signals it knows nothing.
    hold "rollback $2"
    settle "$2" deployed ;;
"helm list "*" --all-namespaces "*) echo "[]" ;;
"helm list "*) [ ! -e "$here/releases" ] || ls "$here/releases" ;;
"helm uninstall "*)
    [ -e "$here/releases/$2" ] || exit 0
    settle "$2" uninstalling
    hold "uninstall $2"
    forget "$2"
    rm -rf "$here/releases/$2" ;;

"kubectl create configmap check "*) echo configmap/check ;;
"kubectl version "*) echo '{"clientVersion":{"gitVersion":"v1.33.1"}}' ;;
"kubectl get nodes,storageclasses "*)
    [ -e cluster ] && [ -e "$KUBECONFIG" ] || exit 1
    echo "{\"items\":[$NODES]}" ;;
"kubectl get nodes,storageclasses,namespaces,"*)
    [ -e cluster ] && [ -e "$KUBECONFIG" ] || exit 1
    found=$NODES,$(services)
    for here in namespaces/*; do
        found="$found,$(a_namespace "${here#*/}")"
        add_workloads
    done
    echo "{\"items\":[${found%,}]}" | sed 's/,,*/,/g' ;;
"kubectl get nodes --output json "*)
    status='{"addresses":[{"type":"InternalIP","address":"192.168.49.2"}],"nodeInfo":{"machineID":"m-1"}}'
    echo "{\"items\":[{\"metadata\":{\"name\":\"todo\"},\"status\":$status}]}" ;;
# What is of a target is asked for by namespace.
"kubectl get namespace/kube-system --output jsonpath"*) cat uid ;;
"kubectl get services,configmaps,"*)
    found=
    add_workloads
    all=$(services | sed "s/},{\"kind\"/}\n{\"kind\"/g" | grep -F "\"namespace\":\"$namespace\"" | paste -sd, -)
    echo "{\"items\":[${all}${all:+${found:+,}}${found#,}]}" ;;
"kubectl get applications.argoproj.io/"* | "kubectl get helmreleases.helm.toolkit.fluxcd.io/"*)
    [ ! -e applier ] || cat applier ;;
"kubectl get lease/"*) [ ! -e "$here/lease" ] || cat "$here/lease" ;;
"kubectl get resourcequota/"*) [ ! -e "$here/quota" ] || cat "$here/quota" ;;
"kubectl replace --filename - "*)
    case $input in *'"kind":"ResourceQuota"'*) to=quota ;; *) to=lease ;; esac
    printf '%s\n' "$input" >"$here/$to" ;;
"docker image tag "*) ;;
"docker image rm --no-prune "*) ;;
"docker image push "*)
    echo "$last" >>registry
    echo "0.1.0: digest: $(digest "$last") size: 1234" ;;
"kubectl get secrets --all-namespaces "* | "kubectl get secrets --output "* | "kubectl get secrets --selector "*)
    [ -e cluster ] && [ -e "$KUBECONFIG" ] || exit 1
    for secret in secrets/*/*.version; do
        [ -e "${secret%.version}" ] || continue
        of=${secret%.version} of=${of#secrets/}
        case $call in *" --all-namespaces "*) ;; *) [ "${of%/*}" = "$namespace" ] || continue ;; esac
        { echo "${of%/*}"; echo "${of#*/}"; cat "$secret"; cut -d ' ' -f 1 "${secret%.version}"; } | paste -sd ' ' -
    done
    for release in namespaces/*/releases/*; do
        [ -s "$release/revisions" ] || continue
        here=${release%/releases/*} release=${release##*/}
        case $call in *" --all-namespaces "*) ;; *) [ "${here#*/}" = "$namespace" ] || continue ;; esac
        while read -r number status; do
            echo "${here#*/} sh.helm.release.v1.$release.v$number 1 =$(stored "$release" "$number" "$status") $status"
        done <"$here/releases/$release/revisions"
    done ;;
"kubectl get namespace/"*) [ ! -e "namespaces/${2#namespace/}" ] || a_namespace "${2#namespace/}" ;;
"kubectl label namespace/"*)
    labels=namespaces/${2#namespace/}/labels
    shift 2
    while [ "$1" != --overwrite ]; do
        key=${1%%=*}
        sed "\\|^${key%-} |d" "$labels" >"$labels.new"
        case $1 in *=*) echo "$key ${1#*=}" >>"$labels.new" ;; esac
        mv "$labels.new" "$labels"
        shift
    done ;;
"kubectl get secret "*)
    [ -e "secrets/$namespace/$3" ] || exit 0
    secret=secrets/$namespace/$3
    case $call in
    *resourceVersion*) { cat "$secret.version"; cut -d ' ' -f 1 "$secret"; } | paste -sd ' ' - ;;
    *) while read -r key value; do echo "$key $(printf %s "$value" | base64 | tr -d '\n')"; done <"$secret" ;;
    esac ;;
"kubectl get persistentvolumes "*) echo "{\"items\":[$(cat volumes 2>/dev/null)]}" ;;
"kubectl get persistentvolumeclaims "* | "kubectl get storageclasses "*) echo '{"items":[]}' ;;
"kubectl get services "*) echo "{\"items\":[$(services)]}" ;;
"kubectl get pods,deployments,"*) echo '{"items":[]}' ;;
"kubectl get namespaces "*)
    items=$(for one in namespaces/*; do a_namespace "${one#*/}"; done | paste -sd, -)
    echo "{\"items\":[$items]}" ;;
"kubectl get horizontalpodautoscalers "*) echo '{"items":[]}' ;;
"kubectl get pods "*) echo '{"items":[]}' ;;
"kubectl get deployments,statefulsets,daemonsets "*)
    found=
    add_workloads
    echo "{\"items\":[${found#,}]}" ;;
"kubectl get pods,"*)
    found=
    add_workloads
    while read -r other; do found="$found,$other"; done <watched
    echo "{\"items\":[${found#,}]}" ;;
"kubectl get --filename - "*)
    for name in $(printf '%s\n' "$input" | sed -n 's/^  name: //p'); do
        [ ! -e "$here/workloads/$name" ] || live "$name"
    done ;;
"kubectl create --filename - "*)
    printf '%s\n' "$input" >>created
    name=$(printf '%s\n' "$input" | sed 's/.*"name":"\([^"]*\)".*/\1/')
    case $input in
    *'"kind":"Namespace"'*)
        mkdir -p namespaces
        mkdir "namespaces/$name" 2>/dev/null || { echo "Error: namespaces \"$name\" already exists" >&2; exit 1; }
        printf '%s\n' "$input" | pairs labels >"namespaces/$name/labels" ;;
    *'"kind":"ResourceQuota"'*) printf '%s\n' "$input" >"$here/quota" ;;
    *'"kind":"Lease"'*) printf '%s\n' "$input" >"$here/lease" ;;
    *'"kind":"Secret"'*)
        [ -e "$here" ] || { echo "Error: namespaces \"$namespace\" not found" >&2; exit 1; }
        mkdir -p "secrets/$namespace"
        echo 7 >"secrets/$namespace/$name.version"
        printf '%s\n' "$input" | pairs stringData >"secrets/$namespace/$name" ;;
    esac ;;
"kubectl patch secret/"*)
    printf '%s\n' "$input" >>created
    secret=secrets/$namespace/${2#secret/}
    { printf '%s\n' "$input" | pairs stringData; cat "$secret"; } | sort -s -u -k 1,1 >"$secret.new"
    case $input in
    *'"data":'*) for key in $(printf '%s\n' "$input" | pairs data | cut -d ' ' -f 1); do sed -i "/^$key /d" "$secret.new"; done ;;
    esac
    mv "$secret.new" "$secret"
    echo $(($(cat "$secret.version") + 1)) >"$secret.version" ;;
"kubectl delete namespace/"*) rm -rf "namespaces/${2#namespace/}" "secrets/${2#namespace/}" ;;
"kubectl delete secrets,"*) rm -rf "secrets/$namespace" ;;
# Whoever has the password, and whoever comes by the pod's own socket, gets in.
"kubectl exec "*" -- psql "*) printf '%s\n' "$input" >>statements ;;
"kubectl exec "*" --container "*" -- sh -c "*psql*) ;;
"kubectl logs "*) echo "a log line" ;;
"kubectl exec --stdin "*) echo t ;;
"helm test "*) printf 'NAME: %s\nTEST SUITE:     %s-test\nPhase:          Succeeded\n' "$2" "$2" ;;
"kubectl port-forward "*)
    echo "Forwarding from 127.0.0.1:$(cat forwarded-port) -> 8000"
    exec sleep 60 ;;
*) echo "the stand-in has no answer to: $call" >&2; exit 99 ;;
esac
