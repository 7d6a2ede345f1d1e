// The page server with Go's standard library alone: net/http on both sides, html/template.
package main

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io"
	"log"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"time"
)

//go:embed templates
var files embed.FS

var templates = template.Must(template.ParseFS(files, "templates/*.html"))

type user struct {
	Title string `json:"title"`
	User  struct {
		ID   int    `json:"id"`
		Name string `json:"name"`
		City string `json:"city"`
		Bio  string `json:"bio"`
	} `json:"user"`
	Items []item `json:"items"`
}

type list struct {
	ID    int    `json:"id"`
	Title string `json:"title"`
	Items []int  `json:"items"`
}

type item struct {
	ID      int    `json:"id"`
	Title   string `json:"title"`
	Note    string `json:"note"`
	Score   int    `json:"score"`
	Starred bool   `json:"starred"`
}

type server struct {
	api    string
	client *http.Client
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	api := flag.String("api", "127.0.0.1:9100", "address of the API")
	version := flag.Bool("version", false, "print the version of Go")
	flag.Parse()
	if *version {
		fmt.Println(runtime.Version())
		return
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	// The default of 2 would close nearly every connection after its answer.
	transport.MaxIdleConnsPerHost = 20_000
	transport.MaxIdleConns = 0
	// The API does not compress; without this each request would ask for gzip.
	transport.DisableCompression = true
	s := server{
		api:    "http://" + *api,
		client: &http.Client{Transport: transport, Timeout: 10 * time.Second},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}", s.user)
	mux.HandleFunc("GET /lists/{id}", s.list)
	log.Fatal(http.ListenAndServe(*listen, mux))
}

func (s *server) user(w http.ResponseWriter, r *http.Request) {
	var page user
	if err := s.fetch(r, "/users/"+r.PathValue("id"), &page); err != nil {
		http.Error(w, "Bad Gateway", http.StatusBadGateway)
		return
	}
	render(w, "user.html", page)
}

func (s *server) list(w http.ResponseWriter, r *http.Request) {
	var page struct {
		List  list
		Items []item
	}
	if err := s.fetch(r, "/lists/"+r.PathValue("id"), &page.List); err != nil {
		http.Error(w, "Bad Gateway", http.StatusBadGateway)
		return
	}
	page.Items = make([]item, len(page.List.Items))
	errs := make([]error, len(page.List.Items))
	var group sync.WaitGroup
	for i, number := range page.List.Items {
		group.Go(func() {
			errs[i] = s.fetch(r, "/items/"+strconv.Itoa(number), &page.Items[i])
		})
	}
	group.Wait()
	if errors.Join(errs...) != nil {
		http.Error(w, "Bad Gateway", http.StatusBadGateway)
		return
	}
	render(w, "list.html", page)
}

func (s *server) fetch(r *http.Request, path string, into any) error {
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, s.api+path, nil)
	if err != nil {
		return err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	// A body that is read to its end lets the connection be used again.
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return json.Unmarshal(body, into)
}

// One for each page under way, used again.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// Into a buffer first: a template that fails is an error page, not half a page.
func render(w http.ResponseWriter, name string, page any) {
	buffer := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buffer)
	buffer.Reset()
	if err := templates.ExecuteTemplate(buffer, name, page); err != nil {
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	// Without a length net/http would send this in chunks.
	w.Header().Set("Content-Length", strconv.Itoa(buffer.Len()))
	_, _ = w.Write(buffer.Bytes())
}
