;; One episode of CartPole from Clojure: push to where the pole falls.
;; Needs org.clojure/data.json; the HTTP client is Java's own.
(require '[clojure.data.json :as json])
(import '(java.net URI)
        '(java.net.http HttpClient HttpRequest HttpRequest$BodyPublishers
                        HttpResponse$BodyHandlers))

(def url (str (or (first *command-line-args*) "http://127.0.0.1:5000") "/v1/envs"))
(def client (HttpClient/newHttpClient))

(defn post [path body]
  (let [request (-> (HttpRequest/newBuilder (URI/create (str url path)))
                    (.header "Content-Type" "application/json")
                    (.POST (HttpRequest$BodyPublishers/ofString (json/write-str body)))
                    (.build))
        reply (.send client request (HttpResponse$BodyHandlers/ofString))
        content (when (seq (.body reply)) (json/read-str (.body reply) :key-fn keyword))]
    (when (>= (.statusCode reply) 400)
      (throw (ex-info (:message content) content)))
    content))

(let [id (:instance_id (post "/" {:env_id "CartPole-v1" :seed 0}))]
  (loop [observation (:observation (post (str "/" id "/reset/") {}))
         total 0.0]
    (let [action (if (pos? (nth observation 2)) 1 0)
          step (post (str "/" id "/step/") {:action action})
          total (+ total (:reward step))]
      (if (:done step)
        (println "return" (long total))
        (recur (:observation step) total))))
  (post (str "/" id "/close/") {}))
(shutdown-agents)
