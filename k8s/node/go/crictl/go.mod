module tools/crictl

go 1.24.0

require (
	google.golang.org/grpc v1.72.0
	k8s.io/cri-api v0.33.1
)

require (
	github.com/gogo/protobuf v1.3.2 // indirect
	golang.org/x/net v0.40.0 // indirect
	golang.org/x/sys v0.33.0 // indirect
	golang.org/x/text v0.25.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20250505200425-f936aa4a68b2 // indirect
	google.golang.org/protobuf v1.36.6 // indirect
)
