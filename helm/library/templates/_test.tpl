{{/*
`helm test`: a pod, from the image of one of the services, that asks each service whether it is ready, through its Service.
*/}}
{{- define "library.test" -}}
{{- $described := include "library.described" . | fromJson -}}
{{- $runner := get $described ((.Values.test | default dict).service | default .Values.name | default .Chart.Name) -}}
{{- $urls := list -}}
{{- range $name, $service := $described -}}
{{- with $service.probes.readiness.path -}}
{{- $urls = append $urls (printf "%s%s" (include "library.url" (list $ $name $service)) .) -}}
{{- end -}}
{{- end -}}
{{- if and $runner (.Values.test | default dict).command $urls -}}
{{- $faults := .Values.faults | default dict -}}
{{- range concat ($faults.wrongTarget | default list) ($faults.noEndpoints | default list) -}}
{{- if not (hasKey $described .) -}}
{{- fail (printf "faults names %s, but no service of that name is enabled" .) -}}
{{- end -}}
{{- end -}}
{{- if $faults.testFails -}}
{{- /* Nobody listens there. */ -}}
{{- $urls = append $urls "http://127.0.0.1:1/" -}}
{{- end -}}
apiVersion: v1
kind: Pod
metadata:
  name: {{ .Release.Name }}-test
  namespace: {{ .Release.Namespace }}
  labels:
    {{- /* No Service may take this pod for one of its own: it has no `app` of a service. */}}
    app: {{ .Release.Name }}-test
    {{- include "library.sharedLabels" . | nindent 4 }}
    app.kubernetes.io/component: test
  annotations:
    {{- include "library.testHook" . | nindent 4 }}
spec:
  {{- include "library.podSecurity" $runner | nindent 2 }}
  restartPolicy: Never
  activeDeadlineSeconds: 60
  containers:
    - name: test
      image: {{ include "library.image" (dict "root" . "service" $runner) }}
      imagePullPolicy: {{ $runner.image.pullPolicy | default "IfNotPresent" }}
      command:
        {{- toYaml .Values.test.command | nindent 8 }}
      args:
        {{- toYaml $urls | nindent 8 }}
      resources:
        requests:
          cpu: 10m
          memory: 16Mi
          ephemeral-storage: 1Mi
        limits:
          cpu: 100m
          memory: 64Mi
          ephemeral-storage: 16Mi
      {{- include "library.containerSecurity" . | nindent 6 }}
{{- if $runner.networkPolicy.enabled }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .Release.Name }}-test
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "library.sharedLabels" . | nindent 4 }}
  annotations:
    {{- /* Before the pod. */}}
    helm.sh/hook-weight: "-1"
    {{- include "library.testHook" . | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "library.testSelector" . | nindent 6 }}
  policyTypes:
    - Ingress
    - Egress
  egress:
    {{- include "library.dns" . | trim | nindent 4 }}
    - to:
        - podSelector:
            matchLabels:
              app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}
{{- end -}}
{{- end -}}

{{/*
The labels by which a service's NetworkPolicy knows the test's pod.
*/}}
{{- define "library.testSelector" -}}
app: {{ .Release.Name }}-test
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: test
{{- end -}}

{{- define "library.testHook" -}}
helm.sh/hook: test
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
