{{/*
What bounds the pods: who may call whom, how many may be missing, how many there are.
*/}}

{{/*
The NetworkPolicy of each service: it takes calls from those that call it, and makes its own calls, and nothing else.
*/}}
{{- define "library.networkPolicies" -}}
{{- $described := include "library.described" . | fromJson -}}
{{- $callees := include "library.callees" (list . $described) | fromJson -}}
{{- range $name, $service := $described }}
{{- if $service.networkPolicy.enabled }}
{{- $scope := dict "root" $ "name" $name "service" $service "callees" $callees "described" $described }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "library.metadata" (list $scope (include "library.name" (list $ "deployment" $name))) | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "library.selector" $scope | nindent 6 }}
  policyTypes:
    - Ingress
    - Egress
  {{- with include "library.callers" $scope | fromJsonArray }}
  ingress:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  egress:
    {{- include "library.dns" $ | trim | nindent 4 }}
    {{- with include "library.called" $scope | fromJsonArray }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
{{- end -}}
{{- end -}}

{{/*
The rules for those that may call a service, as JSON. A rule without `from` is for everybody.
*/}}
{{- define "library.callers" -}}
{{- $service := .service -}}
{{- $ports := include "library.policyPorts" $service | fromYamlArray -}}
{{- $rules := list -}}
{{- /* What comes by a node port has an address of the node's. */ -}}
{{- if kindIs "bool" $service.networkPolicy.open | ternary $service.networkPolicy.open (ne $service.service.type "ClusterIP") -}}
{{- $rules = append $rules (dict "ports" $ports) -}}
{{- end -}}
{{- /* Where the controller of an Ingress or a route runs is the cluster's affair. */ -}}
{{- if or $service.ingress.enabled $service.route.enabled -}}
{{- $rules = append $rules (dict "from" (list (dict "namespaceSelector" dict)) "ports" $ports) -}}
{{- end -}}
{{- $from := list -}}
{{- range $caller, $called := .callees -}}
{{- if has $.name $called -}}
{{- $labels := include "library.selector" (dict "root" $.root "name" $caller) | fromYaml -}}
{{- $from = append $from (dict "podSelector" (dict "matchLabels" $labels)) -}}
{{- end -}}
{{- end -}}
{{- if and (.root.Values.test | default dict).command $service.probes.readiness.path -}}
{{- $from = append $from (dict "podSelector" (dict "matchLabels" (include "library.testSelector" .root | fromYaml))) -}}
{{- end -}}
{{- if $from -}}
{{- $rules = append $rules (dict "from" $from "ports" $ports) -}}
{{- end -}}
{{- range $service.networkPolicy.ingress -}}
{{- $rules = append $rules (include "library.rule" (list $.root "from" . $ports) | fromJson) -}}
{{- end -}}
{{- toJson $rules -}}
{{- end -}}

{{/*
The rules for those that a service calls, as JSON.
*/}}
{{- define "library.called" -}}
{{- $rules := list -}}
{{- range $called := get .callees .name -}}
{{- $labels := include "library.selector" (dict "root" $.root "name" $called) | fromYaml -}}
{{- $ports := include "library.policyPorts" (get $.described $called) | fromYamlArray -}}
{{- $rules = append $rules (dict "to" (list (dict "podSelector" (dict "matchLabels" $labels))) "ports" $ports) -}}
{{- end -}}
{{- range .service.networkPolicy.egress -}}
{{- $rules = append $rules (include "library.rule" (list $.root "to" . list) | fromJson) -}}
{{- end -}}
{{- with .service.traces.endpoint -}}
{{- $collector := include "library.collector" (list $.root .) | fromJson -}}
{{- $rules = append $rules (include "library.rule" (list $.root "to" $collector list) | fromJson) -}}
{{- end -}}
{{- toJson $rules -}}
{{- end -}}

{{/*
(list ROOT ENDPOINT): who the collector of traces is, as one of `networkPolicy.egress`, as JSON. A name within the cluster is
NAME or NAME.NAMESPACE, with or without what may follow.
*/}}
{{- define "library.collector" -}}
{{- $root := index . 0 -}}
{{- $address := splitList ":" (urlParse (index . 1)).host -}}
{{- $host := first $address -}}
{{- $peer := dict "port" (last $address) -}}
{{- if regexMatch "^[0-9.]+$" $host -}}
{{- $_ := set $peer "cidr" (printf "%s/32" $host) -}}
{{- else -}}
{{- $names := splitList "." $host -}}
{{- $_ := set $peer "namespace" (gt (len $names) 1 | ternary (index (append $names "") 1) $root.Release.Namespace) -}}
{{- end -}}
{{- toJson $peer -}}
{{- end -}}

{{/*
(list ROOT DIRECTION PEER PORTS): one of `networkPolicy.ingress` or `.egress` as a rule, as JSON. A peer without a port
has all of PORTS.
*/}}
{{- define "library.rule" -}}
{{- $root := index . 0 -}}
{{- $direction := index . 1 -}}
{{- $peer := index . 2 -}}
{{- $ports := index . 3 -}}
{{- $who := dict -}}
{{- with $peer.cidr -}}
{{- $range := dict "cidr" . -}}
{{- with $peer.except -}}
{{- $_ := set $range "except" . -}}
{{- end -}}
{{- $_ := set $who "ipBlock" $range -}}
{{- end -}}
{{- with $peer.namespace -}}
{{- $_ := set $who "namespaceSelector" (eq . "*" | ternary dict (dict "matchLabels" (dict "kubernetes.io/metadata.name" .))) -}}
{{- end -}}
{{- with $peer.service -}}
{{- $labels := dict "app.kubernetes.io/name" . "app.kubernetes.io/part-of" $root.Values.library.partOf -}}
{{- $_ := set $who "podSelector" (dict "matchLabels" $labels) -}}
{{- end -}}
{{- $rule := dict -}}
{{- with $who -}}
{{- $_ := set $rule $direction (list .) -}}
{{- end -}}
{{- with $peer.port -}}
{{- $ports = list (dict "port" (int .) "protocol" ($peer.protocol | default "TCP")) -}}
{{- end -}}
{{- with $ports -}}
{{- $_ := set $rule "ports" . -}}
{{- end -}}
{{- toJson $rule -}}
{{- end -}}

{{/*
(list ROOT DESCRIBED): which services of the release each one calls, as JSON: those of its `networkPolicy.calls`, and
those whose {url:NAME} is in its environment.
*/}}
{{- define "library.callees" -}}
{{- $root := index . 0 -}}
{{- $described := index . 1 -}}
{{- $callees := dict -}}
{{- range $name, $service := $described -}}
{{- $called := $service.networkPolicy.calls | default list -}}
{{- range $called -}}
{{- if not (hasKey ($root.Values.services | default dict) .) -}}
{{- fail (printf "service %s: networkPolicy.calls names %s, which is no service of this chart; others belong to networkPolicy.egress" $name .) -}}
{{- end -}}
{{- end -}}
{{- $texts := values ($service.env | default dict) -}}
{{- range $service.configMaps -}}
{{- $texts = concat $texts (values (get ($root.Values.configMaps | default dict) . | default dict)) -}}
{{- end -}}
{{- range regexFindAll "\\{url:[^}]*\\}" (join " " $texts) -1 -}}
{{- $called = append $called (. | trimPrefix "{url:" | trimSuffix "}") -}}
{{- end -}}
{{- $known := list -}}
{{- range $called | uniq | sortAlpha -}}
{{- if and (ne . $name) (hasKey $described .) -}}
{{- $known = append $known . -}}
{{- end -}}
{{- end -}}
{{- $_ := set $callees $name $known -}}
{{- end -}}
{{- toJson $callees -}}
{{- end -}}

{{/*
The ports on which a service's pods listen.
*/}}
{{- define "library.policyPorts" -}}
- port: {{ .port | int }}
  protocol: {{ .service.protocol }}
{{- range .service.extraPorts }}
- port: {{ .targetPort | default .port | int }}
  protocol: {{ .protocol | default "TCP" }}
{{- end }}
{{- end -}}

{{/*
Names are asked of the cluster's own servers.
*/}}
{{- define "library.dns" -}}
{{- range list "UDP" "TCP" }}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
      podSelector:
        matchLabels:
          k8s-app: kube-dns
  ports:
    - port: 53
      protocol: {{ . }}
{{- end }}
{{- end -}}

{{/*
The PodDisruptionBudget of each service: a node can always be drained, but not of all pods at once.
*/}}
{{- define "library.disruptionBudgets" -}}
{{- range $name, $service := include "library.described" . | fromJson }}
{{- if $service.pdb.enabled }}
{{- $scope := dict "root" $ "name" $name "service" $service }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "library.metadata" (list $scope (include "library.name" (list $ "deployment" $name))) | nindent 2 }}
spec:
  {{- /* As many as may be missing, not as many as must be there: the only replica would keep its node from being drained. */}}
  maxUnavailable: {{ $service.pdb.maxUnavailable | include "library.portOrName" }}
  {{- /* A pod that isn't ready serves nobody; waiting for it would stop the drain for good. */}}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "library.selector" $scope | nindent 6 }}
{{- end }}
{{- end -}}
{{- end -}}

{{/*
The HorizontalPodAutoscaler of each service that asks for one; the cluster must run metrics-server.
*/}}
{{- define "library.autoscalers" -}}
{{- range $name, $service := include "library.described" . | fromJson }}
{{- with $service.hpa }}
{{- if .enabled }}
{{- $scope := dict "root" $ "name" $name "service" $service }}
{{- if gt (int .minReplicas) (int .maxReplicas) }}
{{- fail (printf "service %s: hpa.minReplicas %d is more than hpa.maxReplicas %d" $name (int .minReplicas) (int .maxReplicas)) }}
{{- end }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "library.metadata" (list $scope (include "library.name" (list $ "deployment" $name))) | nindent 2 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: {{ $service.workload }}
    name: {{ include "library.name" (list $ "deployment" $name) }}
  minReplicas: {{ .minReplicas | int }}
  maxReplicas: {{ .maxReplicas | int }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ .cpuPercent | int }}
{{- end }}
{{- end }}
{{- end -}}
{{- end -}}
