build: handler ## compile the handler

handler: go.mod $(wildcard *.go)
	go build -buildvcs=false -o $@ .
