module tools/runc-shim

go 1.24.0
