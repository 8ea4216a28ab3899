// The same call behind net/http and pgx, for make bench (figures/gateway.py): token, role, transaction, one function.
//
// Usage: server 'host=/socket port=… user=… dbname=…' pool
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const begin = "SELECT access.begin_request($1, $2, $3, $4, $5, $6, $7)"
const call = `SELECT (api.certificate("id" => $1::pg_catalog.uuid))::pg_catalog.text,
 pg_catalog.current_setting('response.status', true), pg_catalog.current_setting('response.headers', true)`

type server struct {
	pool *pgxpool.Pool
}

// Lower-case names, as the database wants them.
func headers(r *http.Request) (string, error) {
	all := make(map[string]string, len(r.Header)+1)
	for name, values := range r.Header {
		all[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	all["host"] = r.Host
	text, err := json.Marshal(all)
	return string(text), err
}

// One round trip: pgx sends a batch as one pipeline, which is one transaction.
func (s *server) certificate(w http.ResponseWriter, r *http.Request) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	sent, err := headers(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	batch := &pgx.Batch{}
	batch.Queue(begin, token, nil, true, r.Method, r.URL.Path, sent, "{}")
	batch.Queue(call, r.PathValue("id"))
	results := s.pool.SendBatch(r.Context(), batch)
	var principal, body string
	var status, more *string
	err = results.QueryRow().Scan(&principal)
	if err == nil {
		err = results.QueryRow().Scan(&body, &status, &more)
	}
	if closing := results.Close(); err == nil {
		err = closing
	}
	if err != nil {
		log.Print(err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if status != nil && *status != "" {
		code, err := strconv.Atoi(*status)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(code)
	}
	fmt.Fprint(w, body)
}

// A stream of events on which nothing happens, as net/http does it.
func (s *server) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, "retry: 3000\n\n")
	if err := http.NewResponseController(w).Flush(); err == nil {
		<-r.Context().Done()
	}
}

func main() {
	config, err := pgxpool.ParseConfig(os.Args[1] + " pool_max_conns=" + os.Args[2] + " pool_min_conns=" + os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		log.Fatal(err)
	}
	s := &server{pool}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /certificates/{id}", s.certificate)
	mux.HandleFunc("GET /events", s.events)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	log.Fatal(http.Serve(listener, mux))
}
