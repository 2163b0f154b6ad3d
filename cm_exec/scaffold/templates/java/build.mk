build: classes/Handler.class ## compile the handler

classes/Handler.class: $(wildcard *.java)
	javac -d classes $^
