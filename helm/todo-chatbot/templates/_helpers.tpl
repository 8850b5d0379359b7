{{/*
The services that have files of their own here. more-workloads.yaml and more-services.yaml render all others: a further
service is an entry in values and nothing else. What all templates share is in the library chart.
*/}}
{{- define "todo-chatbot.known" -}}
backend frontend mcp postgres
{{- end -}}
