// A greeting. The query comes on stdin, the result goes to stdout, and stderr is the log.
package main

import (
	"encoding/json"
	"errors"
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

func main() {
	log.SetFlags(0)
	var q query
	if err := json.NewDecoder(os.Stdin).Decode(&q); err != nil {
		log.Fatal(err)
	}
	result, err := greet(q)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		log.Fatal(err)
	}
}
