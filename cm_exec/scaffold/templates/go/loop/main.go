// A greeting. Each line of stdin is a query, each line of stdout its result, and stderr is the log.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"log"
	"os"
)

type query struct {
	Name string `json:"name"`
}

func greet(q query) (string, error) {
	if q.Name == "" {
		return "", errors.New("the name is empty")
	}
	return "Hello, " + q.Name + "!", nil
}

// serve answers one query after another, until the end of stdin. It reads whole lines: a json.Decoder would answer
// before it has read the end of the line, and such an early result is refused.
func serve(lines *bufio.Reader, results *json.Encoder) error {
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var q query
		if err := json.Unmarshal(line, &q); err != nil {
			return err
		}
		result, err := greet(q)
		if err != nil {
			return err
		}
		if err := results.Encode(result); err != nil {
			return err
		}
	}
}

func main() {
	log.SetFlags(0)
	if err := serve(bufio.NewReader(os.Stdin), json.NewEncoder(os.Stdout)); err != nil {
		log.Fatal(err) // this job gets the error, the next one a new process
	}
}
